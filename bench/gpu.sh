#!/usr/bin/env bash
# Everything this project measures and checks on a GPU, from a bare checkout, without pip and without a network.
#
#   bench/gpu.sh [OUT] [PART...]        OUT: folder for logs and results (default out/gpu)
#
#   build      hmeg._C for the GPU present, in place; the compiler's report of registers and spills
#   ceilings   copy bandwidth and product rates, to hold every kernel against
#   test       the operators' suites on the backends cuda and triton, then everything else
#   sanitize   the small cases under compute-sanitizer: memcheck, racecheck
#   raster, message, normal_noise, train, generate, export, recognise
#              that group of benchmarks; JSON and table (those that `python -m bench --list` names)
#
# Without PART: all of them. Every part stops after LIMIT seconds (default 480). The last lines are a table of the parts;
# the exit status is 1 if one of them failed. PYTHON names the interpreter (default python3); it must have torch, triton,
# setuptools, pybind11, cmake, ninja, pytest, pytest-xdist, pytest-benchmark, hypothesis and what pyproject.toml lists
# under dependencies. What it lacks can be brought along: `pip install --target DIR PACKAGE...` where there is a network,
# PYTHONPATH=DIR PATH=DIR/bin:$PATH here.
set -uo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
OUT=${1:-out/gpu}
shift || true
PYTHON=${PYTHON:-python3}
LIMIT=${LIMIT:-480}
BENCHES="raster message normal_noise train generate export recognise"
ALL="build ceilings test sanitize $BENCHES"
PARTS=${*:-$ALL}
for part in $PARTS; do
  case " $ALL " in *" $part "*) ;; *) echo "gpu.sh: there is no part '$part'; choose from: $ALL" >&2; exit 2 ;; esac
done
mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
  echo "gpu.sh: $PYTHON has no torch that sees a CUDA device" >&2; exit 2; }
# Modules, and after a colon the package that brings one where its name is another.
NEEDED="triton setuptools pybind11 pytest xdist:pytest-xdist pytest_benchmark:pytest-benchmark hypothesis numpy PIL:pillow
  latex2mathml defusedxml safetensors click tqdm yaml:pyyaml jinja2 scipy"
MISSING=$("$PYTHON" -c 'import sys; from importlib.util import find_spec
print(*(name.split(":")[-1] for name in sys.argv[1:] if find_spec(name.split(":")[0]) is None))' $NEEDED)
[ -z "$MISSING" ] || {
  echo "gpu.sh: $PYTHON lacks: $MISSING; bring them along (pip install --target DIR ...) with PYTHONPATH=DIR" >&2; exit 2; }
ARCH=$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')

build() {
  export HMEG_CUDA=on HMEG_CUDA_ARCHS="$ARCH" CUDAFLAGS="-Xptxas -v"
  local found
  found=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || { echo "no nvcc on PATH"; return 1; }
  PATH="$(dirname "$found"):$PATH" "$PYTHON" setup.py build_ext --inplace
  local status=$?
  grep -E "spill|error" "$OUT/build.log" | sort | uniq -c | sort -rn | head -20
  return $status
}

ceilings() { "$PYTHON" -m bench.ceilings --json "$OUT/ceilings.json"; }

test_() {
  local workers=$(($(nproc) < 8 ? $(nproc) : 8))
  # The suites on the real backends first; their failures are what a card is asked about.
  "$PYTHON" -m pytest -q -p no:cacheprovider --continue-on-collection-errors -n "$workers" tests -k "cuda or triton" --junitxml "$OUT/kernels.xml"
  local kernels=$?
  "$PYTHON" -m pytest -q -p no:cacheprovider --continue-on-collection-errors -n "$workers" tests -k "not (cuda or triton)" --junitxml "$OUT/others.xml"
  local others=$?
  return $((kernels ? kernels : others))
}

sanitize() {
  local checker status=0
  checker=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) || {
    echo "no compute-sanitizer on PATH"; return 1; }
  for tool in memcheck racecheck; do
    echo "== $tool"
    # Without torch's cache every tensor is an allocation of its own, so that an overrun is seen.
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$checker" --tool "$tool" --target-processes all --error-exitcode 9 \
      "$PYTHON" -m pytest -q -p no:cacheprovider -x tests \
      -k "cuda and (agree or empty or degenerate) and float32 and not large and not compiled" || status=$?
  done
  return $status
}

benchmarks() {
  "$PYTHON" -m bench --list | awk '{print $1}' | grep -qx "$1" || { echo "no benchmarks named $1 yet"; return 1; }
  "$PYTHON" -m bench "$1" --json "$OUT/$1.json"
}

summary=""
failed=0
for part in $PARTS; do
  echo "==== $part"
  begin=$SECONDS
  (
    # Exported, because timeout runs a program and not a function of this shell.
    body=$part; [ "$part" = test ] && body=test_
    case " $BENCHES " in *" $part "*) body="benchmarks $part" ;; esac
    export OUT PYTHON ARCH
    export -f build ceilings test_ sanitize benchmarks
    exec timeout -k 10 "$LIMIT" bash -c "set -o pipefail; $body"
  ) > >(tee "$OUT/$part.log") 2>&1
  status=$?
  wait
  case $status in 0) word=ok ;; 124 | 137) word="stopped after $LIMIT s" ;; *) word="failed ($status)" ;; esac
  [ $status -eq 0 ] || failed=1
  summary+=$(printf '%-12s %-24s %5d s\n' "$part" "$word" $((SECONDS - begin)))$'\n'
done
# Build reports are long: what is over 16 MB keeps its end.
find "$OUT" -maxdepth 1 -name '*.log' -size +15M -exec sh -c 'tail -c 8000000 "$1" > "$1.end" && mv "$1.end" "$1"' _ {} \;
for name in $BENCHES; do
  [ -f "$OUT/$name.json" ] && "$PYTHON" -m bench --show "$OUT/$name.json"
done
printf '\n%s' "$summary"
exit $failed
