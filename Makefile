# make demo        handwriting from a few LaTeX formulas, in out/demo
# make test        the test suite
# make test-fast   the tests that take no long time and no compiler, cluster, browser or GPU
# make lint        formats, ruff, mypy and which package may import which
# Everything runs in .venv, made on first use; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
TORCH ?= torch==2.13.0
# CUDA kernels are compiled here where something could run them; HMEG_CUDA=auto compiles them wherever nvcc works.
export HMEG_CUDA ?= $(if $(wildcard /dev/nvidiactl /dev/dxg),auto,off)
VENV := .venv
BIN := $(VENV)/bin
NATIVE := setup.py CMakeLists.txt $(wildcard cmake/*.cmake csrc/*.* csrc/cpu/*.* csrc/cpu/simd/*.* csrc/cpu/amx/*.* kernels/*.h kernels/cuda/*.cu)

.PHONY: demo test test-fast lint clean

# torch first, and pinned: the package asks for torch>=2.11 only, which would fetch the newest.
$(VENV)/torch.stamp:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	touch $@

# Two stages: what drawing needs, and then what tests and linters need. Editable, so that Python edits need no new
# install; native sources do.
$(VENV)/hmeg.stamp: $(VENV)/torch.stamp pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# By the name of the package that is installed already: pip adds what its extra asks for, and does not compile it again.
$(VENV)/dev.stamp: $(VENV)/hmeg.stamp
	$(BIN)/python -m pip install --quiet "hmeg[dev]"
	touch $@

demo: $(VENV)/hmeg.stamp
	$(BIN)/hmeg generate --out out/demo --overwrite --seed 1 \
	    --latex 'y = x^{2}' \
	    --latex '\frac{a+b}{\sqrt{c}}' \
	    --latex '\sum_{i=1}^{n} a_{i}' \
	    --latex '\sin \theta = \frac{1}{2}'
	@echo "The pictures are in out/demo"

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-fast: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not (slow or ray or browser or compiler or gpu)"

# Type stubs of TensorRT, for mypy alone: in .venv their folder would pass for TensorRT itself.
$(VENV)/stubs.stamp: $(VENV)/dev.stamp tests/support/tensorrt_stubs.py
	rm -rf $(VENV)/stubs
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/stubs tensorrt-stubs==10.13.0.35.1
	$(BIN)/python tests/support/tensorrt_stubs.py $(VENV)/stubs
	touch $@

lint: $(VENV)/dev.stamp $(VENV)/stubs.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell git ls-files '*.h' '*.cpp' '*.cu')
	MYPYPATH=$(VENV)/stubs $(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf build dist out .venv *.egg-info hmeg/_C*.so
