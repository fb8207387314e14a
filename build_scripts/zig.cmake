# A CMake toolchain that builds Pyodide's side modules with zig, for machines without Emscripten. $RV_ZIG names the compiler.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(EMSCRIPTEN TRUE) # to CMakeLists.txt the target is the same
set(ZIG "$ENV{RV_ZIG}")

# Pyodide's target is Emscripten, whose libc zig has not; the headers of WASI's agree with it in all that Python.h uses.
# Features are named one by one, because newer ones (extended-const) are refused by Node 20.
set(CMAKE_C_COMPILER "${ZIG}" cc)
set(CMAKE_C_COMPILER_TARGET wasm32-wasi)
set(RV_FEATURES "mvp+bulk_memory+mutable_globals+nontrapping_fptoint+sign_ext")
if(RV_STANDALONE) # a module for each instruction set: CMakeLists.txt adds what is beyond these
  set(CMAKE_C_FLAGS_INIT "-mcpu=${RV_FEATURES}")
else()
  set(CMAKE_C_FLAGS_INIT "-mcpu=${RV_FEATURES}+simd128")
endif()
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_ARCHIVE_CREATE "\"${ZIG}\" ar qc <TARGET> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "")

# zig's driver knows no side modules; its linker does. Emscripten's own link flags are left out.
set(CMAKE_C_LINK_EXECUTABLE "\"${ZIG}\" wasm-ld -shared --experimental-pic --no-entry --import-memory \
--unresolved-symbols=import-dynamic --strip-all -O3 --export-if-defined=PyInit__kernels \
--export-if-defined=PyInit__kernels_relaxed <OBJECTS> -o <TARGET>")
if(RV_STANDALONE)
  set(CMAKE_C_LINK_EXECUTABLE "\"${ZIG}\" wasm-ld --no-entry --strip-all -O3 --gc-sections --stack-first \
-z stack-size=65536 --initial-memory=1048576 --max-memory=4294967296 <LINK_FLAGS> <OBJECTS> -o <TARGET>")
endif()
