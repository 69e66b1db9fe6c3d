"""crop_boxes by native code."""

from __future__ import annotations

from torch import Tensor

from .backend import NativeBackend, fresh_like

MAX_COLUMN_OFFSET = 2**31 - 1  # columns of an image row are addressed in 32 bits


def readable(images: Tensor) -> Tensor:
    """The images as they lie in memory, whatever their strides, or a copy where a row spreads too wide."""
    return images if (images.shape[3] - 1) * images.stride(3) <= MAX_COLUMN_OFFSET else images.contiguous()


class CropBoxes(NativeBackend):
    def crop_boxes(self, images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int) -> Tensor:
        crops = boxes.new_empty((len(boxes), images.shape[1], height, width))
        self.call(
            "crop_boxes_forward", boxes=boxes, batch=batch, crops=crops, **self._given(images, boxes, height, width)
        )
        return crops

    def crop_boxes_backward(
        self, grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_images, grad_boxes = fresh_like(images), fresh_like(boxes)
        self.call(
            "crop_boxes_backward", grad_crops=grad_crops, boxes=boxes, batch=batch, grad_images=grad_images,
            grad_boxes=grad_boxes, **self._given(images, boxes, *grad_crops.shape[2:]),
        )  # fmt: skip
        return grad_images, grad_boxes

    def _given(self, images: Tensor, boxes: Tensor, crop_height: int, crop_width: int) -> dict[str, Tensor | int]:
        """The images and all sizes."""
        images = images.contiguous() if self.device.gpu else readable(images)
        (graphs, channels, height, width), strides = images.shape, images.stride()
        return {
            "images": images, "symbols": len(boxes), "graphs": graphs, "channels": channels, "height": height,
            "width": width, "graph_stride": strides[0], "channel_stride": strides[1], "row_stride": strides[2],
            "column_stride": strides[3], "crop_height": crop_height, "crop_width": crop_width,
        }  # fmt: skip
