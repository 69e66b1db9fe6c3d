# Which GPUs to compile for.
#
#   hmeg_cuda_architectures(<list> <origin>)
#
# sets <list> to CMake's words ("80-real" machine code, "90-virtual" PTX, "90" both), and <origin> to the name of the
# variable that they come from: HMEG_CUDA_ARCHS, else the environment's TORCH_CUDA_ARCH_LIST, else "the default".
#
# HMEG_CUDA_ARCHS holds compute capabilities between semicolons, commas or blanks, in any of the ways that people write
# them: 90 9.0 sm_90 9.0+PTX 90-real 90-virtual compute_90. Where none asks for PTX, the newest gets it.
# TORCH_CUDA_ARCH_LIST means what it means to PyTorch: there is PTX only where it says +PTX, and names of families are
# known. Other packages read it too, so what is too old for hmeg is left out there, and refused in HMEG_CUDA_ARCHS; <list>
# is empty where nothing remains.

set(HMEG_OLDEST_CUDA_ARCH 80)
set(HMEG_DEFAULT_CUDA_ARCHS "80;90")

set(HMEG_TORCH_FAMILIES kepler+tesla kepler maxwell+tegra maxwell pascal volta+tegra volta turing ampere+tegra ampere
                        ada hopper blackwell+tegra blackwell)
set(HMEG_TORCH_kepler+tesla 3.7)
set(HMEG_TORCH_kepler 3.5+PTX)
set(HMEG_TORCH_maxwell+tegra 5.3)
set(HMEG_TORCH_maxwell 5.0 5.2+PTX)
set(HMEG_TORCH_pascal 6.0 6.1+PTX)
set(HMEG_TORCH_volta+tegra 7.2)
set(HMEG_TORCH_volta 7.0+PTX)
set(HMEG_TORCH_turing 7.5+PTX)
set(HMEG_TORCH_ampere+tegra 8.7)
set(HMEG_TORCH_ampere 8.0 8.6+PTX)
set(HMEG_TORCH_ada 8.9+PTX)
set(HMEG_TORCH_hopper 9.0+PTX)
set(HMEG_TORCH_blackwell+tegra 11.0)
set(HMEG_TORCH_blackwell 10.0 10.3 12.0 12.1+PTX)

function(hmeg_cuda_architectures list origin)
  if(NOT "${HMEG_CUDA_ARCHS}" MATCHES "^[ ,;]*$")
    set(name HMEG_CUDA_ARCHS)
    set(text "${HMEG_CUDA_ARCHS}")
  elseif(NOT "$ENV{TORCH_CUDA_ARCH_LIST}" MATCHES "^[ ,;]*$")
    set(name TORCH_CUDA_ARCH_LIST)
    set(text "$ENV{TORCH_CUDA_ARCH_LIST}")
  else()
    set(name "the default")
    set(text "${HMEG_DEFAULT_CUDA_ARCHS}")
  endif()
  string(REGEX REPLACE "[ ,;]+" ";" words "${text}")
  list(REMOVE_ITEM words "")
  if(name STREQUAL "TORCH_CUDA_ARCH_LIST")
    _hmeg_without_families(words)
  endif()

  set(machine)   # e.g. 80
  set(plain)     # those of them that say nothing about PTX
  set(portable)  # those with PTX
  set(left_out)
  foreach(word IN LISTS words)
    string(TOLOWER "${word}" lower)
    if(NOT lower MATCHES "^(sm_|compute_|)([0-9]+)[.]?([0-9][af]?)([+]ptx|-real|-virtual|)$")
      message(FATAL_ERROR "${name}: '${word}' is no compute capability; write for example \"80;90\", \"8.6\", "
                          "\"sm_90\" or \"9.0+PTX\" (got '${text}')")
    endif()
    set(kind "${CMAKE_MATCH_1}")
    set(arch "${CMAKE_MATCH_2}${CMAKE_MATCH_3}")
    set(suffix "${CMAKE_MATCH_4}")
    string(REGEX REPLACE "[af]$" "" number "${arch}")
    if(number LESS HMEG_OLDEST_CUDA_ARCH)
      if(name STREQUAL "TORCH_CUDA_ARCH_LIST")
        list(APPEND left_out "${word}")
        continue()
      endif()
      message(FATAL_ERROR "${name}: '${word}' is older than ${HMEG_OLDEST_CUDA_ARCH}, the oldest compute capability that "
                          "hmeg's CUDA kernels are written for; leave it out, or build with HMEG_CUDA=off")
    endif()
    if(NOT kind STREQUAL "compute_" AND NOT suffix STREQUAL "-virtual")
      list(APPEND machine ${arch})
    endif()
    if(kind STREQUAL "compute_" OR suffix STREQUAL "-virtual" OR suffix STREQUAL "+ptx")
      list(APPEND portable ${arch})
    elseif(suffix STREQUAL "")
      list(APPEND plain ${arch})
    endif()
  endforeach()
  if(left_out)
    list(JOIN left_out " " left_out)
    message(STATUS "hmeg: of TORCH_CUDA_ARCH_LIST, ${left_out} left out: older than ${HMEG_OLDEST_CUDA_ARCH}")
  endif()
  if(plain AND NOT portable AND NOT name STREQUAL "TORCH_CUDA_ARCH_LIST")
    list(SORT plain COMPARE NATURAL)
    list(GET plain -1 portable)
  endif()

  set(all ${machine} ${portable})
  list(REMOVE_DUPLICATES all)
  list(SORT all COMPARE NATURAL)
  set(result)
  foreach(arch IN LISTS all)
    if(NOT arch IN_LIST portable)
      list(APPEND result ${arch}-real)
    elseif(NOT arch IN_LIST machine)
      list(APPEND result ${arch}-virtual)
    else()
      list(APPEND result ${arch})
    endif()
  endforeach()
  set(${list} "${result}" PARENT_SCOPE)
  set(${origin} "${name}" PARENT_SCOPE)
endfunction()

# PyTorch's names of families, in the list called ``name``, become their members.
function(_hmeg_without_families name)
  set(members)
  foreach(entry IN LISTS ${name})
    string(TOLOWER "${entry}" lower)
    if(lower IN_LIST HMEG_TORCH_FAMILIES)
      list(APPEND members ${HMEG_TORCH_${lower}})
    else()
      list(APPEND members "${entry}")
    endif()
  endforeach()
  set(${name} "${members}" PARENT_SCOPE)
endfunction()
