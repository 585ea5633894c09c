// What every kernel here stands on. NVRTC compiles these sources for the device at run time and needs no header for them;
// where EMULATED is defined, a C++ compiler makes them ordinary functions (see emulated.hpp), which is how they are
// tested where there is no device.
//
// Sizes of the model are constants of a compilation, so that loops over them unroll:
//   ACT_BF16  1 where activations are bf16, 0 where they are f32
//   WIDTH     of the residual stream, a multiple of 4
//   HEADS, KV_HEADS, HEAD_DIM, MLP, VOCAB
//   LOGITS    numbers from one row of logits to the next, at least VOCAB
//   DROPOUT   0 where nothing is ever dropped

#ifndef EMULATED
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#define INFINITY __int_as_float(0x7f800000)
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
// So many registers a thread at most that this many blocks of these threads are on a multiprocessor at a time.
#define AT_ONCE(threads, blocks) __launch_bounds__(threads, blocks)
#endif

#define WARP 32
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f
#define QKV ((HEADS + 2 * KV_HEADS) * HEAD_DIM)

#if ACT_BF16
typedef u16 Act;
#else
typedef float Act;
#endif

#ifndef EMULATED

DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

DEVICE u16 to_bf16(float x) {
    u16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

// Two numbers as a pair, the first in the lower half.
DEVICE u32 to_bf16_pair(float low, float high) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

DEVICE float shuffle_xor(float x, int lanes) { return __shfl_xor_sync(0xffffffffu, x, lanes); }
DEVICE void barrier() { __syncthreads(); }
// 2^x.
DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float exponential(float x) { return power_of_two(x * LOG2_E); }
// 0 where y is infinite, or nearly.
DEVICE float quotient(float x, float y) {
    float z;
    asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}

#endif

DEVICE float widen(float x) { return x; }
DEVICE float widen(u16 x) { return float_of((u32)x << 16); }
DEVICE void narrow(float x, float *y) { *y = x; }
DEVICE void narrow(float x, u16 *y) { *y = to_bf16(x); }

// Four consecutive numbers; addresses are multiples of four numbers.
struct Four {
    float at[4];
};

DEVICE Four load4(const float *x) {
    float4 v = *(const float4 *)x;
    return Four{{v.x, v.y, v.z, v.w}};
}

DEVICE Four load4(const u16 *x) {
    uint2 v = *(const uint2 *)x;
    return Four{{float_of(v.x << 16), float_of(v.x & 0xffff0000u), float_of(v.y << 16), float_of(v.y & 0xffff0000u)}};
}

DEVICE void store4(float *y, Four v) { *(float4 *)y = make_float4(v.at[0], v.at[1], v.at[2], v.at[3]); }

DEVICE void store4(u16 *y, Four v) {
    *(uint2 *)y = make_uint2(to_bf16_pair(v.at[0], v.at[1]), to_bf16_pair(v.at[2], v.at[3]));
}

// Over the lanes of a warp, the same in all of them.
DEVICE float warp_sum(float x) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
    return x;
}

// Dropout, bit for bit as kernels/dropout.rs.
struct Mask {
    u32 low, high, threshold;
    float scale;
    u32 on;
};

DEVICE u32 mix(u32 x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

DEVICE bool drops(Mask mask) { return DROPOUT && mask.on; }

DEVICE float factor(Mask mask, u64 index) {
    u32 high = mix((u32)(index >> 32) ^ mask.high);
    u32 hash = mix(mix((u32)index ^ mask.low) + high);
    return hash >= mask.threshold ? mask.scale : 0.0f;
}

DEVICE float sigmoid(float x) { return quotient(1.0f, 1.0f + exponential(-x)); }
