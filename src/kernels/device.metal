// What every kernel here stands on. Metal compiles these sources for the device at run time; where EMULATED is defined, a
// C++ compiler makes them ordinary functions (see emulated_metal.hpp), which is how they are tested where there is no device.
//
// Numbers are f32 and lie one after the other; sizes are arguments. Tensors may begin at any number, so nothing is read in
// groups of four. Every launch is a row of groups of THREADS threads, and the last parameters of every kernel are PLACE.

#ifndef EMULATED
#include <metal_stdlib>
using namespace metal;
#endif

// Threads that run together; the host refuses devices with others.
#define SIMD 32
// Threads a group, as in ops/metal/launch.rs.
#define THREADS 256
#define SIMDS (THREADS / SIMD)

#define KERNEL [[kernel, max_total_threads_per_threadgroup(THREADS)]] void
#define PLACE uint at [[thread_position_in_threadgroup]], uint group [[threadgroup_position_in_grid]]

// Over the threads of a SIMD group, the same in all of them, in an order that never changes.
static inline float simd_total(float x) {
    for (ushort lanes = SIMD / 2; lanes > 0; lanes /= 2) x += simd_shuffle_xor(x, lanes);
    return x;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }
