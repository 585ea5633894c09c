// LayerNorm, and RMSNorm where there is no bias: see norm.rs. A warp a row.

// Blocks of this many warps; the host launches them.
#define NORM_WARPS 8
// Groups of four columns that a lane holds.
#define NORM_GROUPS ((WIDTH + 4 * WARP - 1) / (4 * WARP))

KERNEL void norm_forward(const float *gain, const float *bias, float eps, const float *x, Act *y, float *stats, u32 rows) {
    u32 lane = threadIdx.x % WARP;
    u64 row = (u64)blockIdx.x * NORM_WARPS + threadIdx.x / WARP;
    if (row >= rows) return;
    Four held[NORM_GROUPS];
    float total = 0.0f;
#pragma unroll
    for (int g = 0; g < NORM_GROUPS; g++) {
        u32 c = 4 * (g * WARP + lane);
        if (c < WIDTH) {
            held[g] = load4(x + row * WIDTH + c);
            for (int i = 0; i < 4; i++) total += held[g].at[i];
        }
    }
    float mean = bias ? warp_sum(total) / WIDTH : 0.0f;
    float squares = 0.0f;
#pragma unroll
    for (int g = 0; g < NORM_GROUPS; g++) {
        if (4 * (g * WARP + lane) < WIDTH) {
            for (int i = 0; i < 4; i++) squares += (held[g].at[i] - mean) * (held[g].at[i] - mean);
        }
    }
    float r = 1.0f / sqrtf(warp_sum(squares) / WIDTH + eps);
#pragma unroll
    for (int g = 0; g < NORM_GROUPS; g++) {
        u32 c = 4 * (g * WARP + lane);
        if (c < WIDTH) {
            Four scale = load4(gain + c), out;
            for (int i = 0; i < 4; i++) out.at[i] = (held[g].at[i] - mean) * r * scale.at[i];
            if (bias) {
                Four b = load4(bias + c);
                for (int i = 0; i < 4; i++) out.at[i] += b.at[i];
            }
            store4(y + row * WIDTH + c, out);
        }
    }
    if (lane == 0) {
        stats[2 * row] = mean;
        stats[2 * row + 1] = r;
    }
}

// The gradient of x into dx (added to it if add), rounded into copy if there is one; partials [gridDim.x, 2, WIDTH] of
// the gradients of gain and bias. Rows are dealt out to warps, so that a launch of other blocks has other bits.
KERNEL void norm_back(const float *gain, u32 has_bias, const float *x, const float *stats, const Act *dy, float *dx, u32 add,
                      Act *copy, float *partials, u32 rows) {
    SHARED float sums[2 * WIDTH];
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    Four dgain[NORM_GROUPS] = {}, dbias[NORM_GROUPS] = {};
    for (u64 row = (u64)blockIdx.x * NORM_WARPS + warp; row < rows; row += (u64)gridDim.x * NORM_WARPS) {
        float mean = stats[2 * row], r = stats[2 * row + 1];
        Four normalised[NORM_GROUPS], scaled[NORM_GROUPS], before[NORM_GROUPS];
        float total = 0.0f, along = 0.0f;
#pragma unroll
        for (int g = 0; g < NORM_GROUPS; g++) {
            u32 c = 4 * (g * WARP + lane);
            if (c < WIDTH) {
                Four in = load4(x + row * WIDTH + c), d = load4(dy + row * WIDTH + c), scale = load4(gain + c);
                for (int i = 0; i < 4; i++) {
                    normalised[g].at[i] = (in.at[i] - mean) * r;
                    scaled[g].at[i] = d.at[i] * scale.at[i];
                    total += scaled[g].at[i];
                    along += scaled[g].at[i] * normalised[g].at[i];
                    dgain[g].at[i] += d.at[i] * normalised[g].at[i];
                    dbias[g].at[i] += d.at[i];
                }
            }
        }
        // All at once, and here: no load waits for a store that might be of the same place.
#pragma unroll
        for (int g = 0; g < NORM_GROUPS; g++) {
            u32 c = 4 * (g * WARP + lane);
            before[g] = Four{{0.0f, 0.0f, 0.0f, 0.0f}};
            if (add && c < WIDTH) before[g] = load4(dx + row * WIDTH + c);
        }
        float mean_g = has_bias ? warp_sum(total) / WIDTH : 0.0f;
        along = warp_sum(along) / WIDTH;
#pragma unroll
        for (int g = 0; g < NORM_GROUPS; g++) {
            u32 c = 4 * (g * WARP + lane);
            if (c < WIDTH) {
                Four out = before[g];
                for (int i = 0; i < 4; i++) out.at[i] += r * (scaled[g].at[i] - mean_g - normalised[g].at[i] * along);
                store4(dx + row * WIDTH + c, out);
                if (copy) store4(copy + row * WIDTH + c, out);
            }
        }
    }
    // One warp after the other, so that the order of the sum is fixed.
    for (u32 turn = 0; turn < NORM_WARPS; turn++) {
        if (warp == turn) {
#pragma unroll
            for (int g = 0; g < NORM_GROUPS; g++) {
                u32 c = 4 * (g * WARP + lane);
                if (c < WIDTH) {
                    for (int i = 0; i < 4; i++) {
                        sums[c + i] = (turn ? sums[c + i] : 0.0f) + dgain[g].at[i];
                        sums[WIDTH + c + i] = (turn ? sums[WIDTH + c + i] : 0.0f) + dbias[g].at[i];
                    }
                }
            }
        }
        barrier();
    }
    for (u32 c = threadIdx.x; c < 2 * WIDTH; c += blockDim.x) partials[(u64)blockIdx.x * 2 * WIDTH + c] = sums[c];
}
