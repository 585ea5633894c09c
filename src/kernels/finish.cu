// What follows a product that the product cannot do itself: see finish.rs. Four numbers a thread.

// out = residual + mask * out; without a mask their sum.
KERNEL void masked_residual(const float *residual, Mask mask, float *out, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    Four r = load4(residual + i), x = load4(out + i);
    for (int k = 0; k < 4; k++) x.at[k] = r.at[k] + x.at[k] * (mask.on ? factor(mask, i + k) : 1.0f);
    store4(out + i, x);
}

// out = mask * x, rounded; without a mask only rounded.
KERNEL void masked(const float *x, Mask mask, Act *out, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    Four v = load4(x + i);
    if (mask.on) {
        for (int k = 0; k < 4; k++) v.at[k] *= factor(mask, i + k);
    }
    store4(out + i, v);
}
