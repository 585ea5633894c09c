// AdamW with clipping in one pass: see update.rs. A number a thread.

// As ops/metal/update.rs lays them out.
struct Factors {
    float beta1, rest1, beta2, rest2, clip, decay, step_size, inverse_root_correction, eps;
};

KERNEL adamw(constant Factors &f [[buffer(0)]], device float *p [[buffer(1)]], device float *m [[buffer(2)]],
             device float *v [[buffer(3)]], device const float *g [[buffer(4)]], constant uint &count [[buffer(5)]], PLACE) {
    uint i = group * THREADS + at;
    if (i >= count) return;
    float gi = f.clip * g[i];
    float mi = fma(f.beta1, m[i], f.rest1 * gi);
    float vi = fma(f.beta2, v[i], f.rest2 * (gi * gi));
    float root = fma(sqrt(vi), f.inverse_root_correction, f.eps);
    p[i] = fma(f.decay, p[i], -f.step_size * (mi / root));
    m[i] = mi;
    v[i] = vi;
}
