// The gradient's norm, and AdamW with clipping in one pass: see update.rs. Nothing here waits for the host.

#define UPDATE_THREADS 256
// Numbers a block, as BLOCK in update.rs.
#define UPDATE_BLOCK 16384

// Over a block of UPDATE_THREADS, in a fixed order; in thread 0.
DEVICE double block_sum(double x) {
    SHARED double sums[UPDATE_THREADS];
    sums[threadIdx.x] = x;
    barrier();
    for (u32 half = UPDATE_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        barrier();
    }
    return sums[0];
}

KERNEL void squares(const float *g, u64 count, double *partials) {
    u64 begin = (u64)blockIdx.x * UPDATE_BLOCK;
    u64 end = begin + UPDATE_BLOCK < count ? begin + UPDATE_BLOCK : count;
    double sum = 0.0;
    for (u64 i = begin + threadIdx.x; i < end; i += UPDATE_THREADS) sum += (double)g[i] * (double)g[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// One block: the mean of the micro-batches' losses so far, the norm, and what gradients are multiplied with, which is 0
// where either is not finite: then update() leaves everything as it is.
struct Verdict {
    double norm;
    float clip;
    u32 finite;
};

KERNEL void judge(const double *partials, u32 blocks, const double *loss, double max_norm, Verdict *out) {
    double sum = 0.0;
    for (u32 b = threadIdx.x; b < blocks; b += UPDATE_THREADS) sum += partials[b];
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        double norm = sqrt(sum);
        double clip = max_norm > 0.0 ? fmin(1.0, max_norm / (norm + 1e-6)) : 1.0;
        out->norm = norm;
        out->clip = (float)clip;
        out->finite = isfinite(norm) && isfinite(*loss);
    }
}

// Adds `share` times the mean of the losses to `loss`, or sets it to that. One block.
KERNEL void mean_loss(const float *losses, u32 count, double share, u32 add, double *loss) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += UPDATE_THREADS) sum += (double)losses[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = (add ? *loss : 0.0) + share * (sum / count);
}

struct Factors {
    float beta1, rest1, beta2, rest2, decay, step_size, inverse_root_correction, eps;
};

// A run of parameters of one decay group, at most UPDATE_BLOCK of them.
struct Piece {
    u64 start;
    u32 len, decays;
};

// A block a piece. `rounded` is what products read: the weights as bf16, or nothing where they read the weights themselves.
KERNEL void adamw(const Factors *factors, const Piece *pieces, const Verdict *verdict, float *p, float *m, float *v, const float *g,
                  u16 *rounded) {
    if (!verdict->finite) return;
    Factors f = *factors;
    Piece piece = pieces[blockIdx.x];
    float decay = piece.decays ? f.decay : 1.0f, clip = verdict->clip;
    for (u32 k = threadIdx.x; k < piece.len; k += UPDATE_THREADS) {
        u64 i = piece.start + k;
        float gi = clip * g[i];
        float mi = fmaf(f.beta1, m[i], f.rest1 * gi);
        float vi = fmaf(f.beta2, v[i], f.rest2 * (gi * gi));
        float root = fmaf(sqrtf(vi), f.inverse_root_correction, f.eps);
        float pi = fmaf(decay, p[i], -f.step_size * (mi / root));
        m[i] = mi;
        v[i] = vi;
        p[i] = pi;
        if (rounded) rounded[i] = to_bf16(pi);
    }
}

// The weights as products read them, where they did not come from adamw.
KERNEL void round_weights(const float *p, u16 *rounded, u64 count) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) rounded[i] = to_bf16(p[i]);
}
