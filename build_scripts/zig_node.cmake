# A CMake toolchain that builds the Node-API addon for another system with zig: its driver has every libc's symbols. The
# environment says what for: $RV_ZIG the compiler, $RV_ZIG_TARGET, $RV_PROCESSOR, $RV_NODE_LINK what the linker needs.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR "$ENV{RV_PROCESSOR}")
set(ZIG "$ENV{RV_ZIG}")
set(CMAKE_C_COMPILER "${ZIG}" cc)
set(CMAKE_C_COMPILER_TARGET "$ENV{RV_ZIG_TARGET}")
set(CMAKE_C_COMPILER_WORKS TRUE) # nothing to try: zig and its target are known
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_LINK_EXECUTABLE
    "\"${ZIG}\" cc -shared -s <LINK_FLAGS> <OBJECTS> -o <TARGET> $ENV{RV_NODE_LINK}")
