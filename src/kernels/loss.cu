// Softmax and cross-entropy: see loss.rs. A block of LOSS_THREADS a row.

#define LOSS_THREADS 512

// Highest of a row and the sum of exponentials about it, over a block; the same in all threads.
struct Softmax {
    float highest, total;
};

DEVICE Softmax merged(Softmax a, Softmax b) {
    float highest = fmaxf(a.highest, b.highest);
    // Of nothing yet, or of what is not a number.
    if (highest == -INFINITY) return Softmax{highest, a.total + b.total};
    return Softmax{highest, a.total * exponential(a.highest - highest) + b.total * exponential(b.highest - highest)};
}

// logits [rows, LOGITS] become the gradient (softmax - onehot) * per_row where train is set, with zeros from VOCAB on.
KERNEL void cross_entropy(Act *logits, const u32 *targets, float per_row, u32 train, float *losses) {
    SHARED Softmax warps[LOSS_THREADS / WARP];
    u64 row = blockIdx.x;
    Act *line = logits + row * LOGITS;
    u32 lane = threadIdx.x % WARP, target = targets[row];
    Softmax own = {-INFINITY, 0.0f};
    for (u32 c = 4 * threadIdx.x; c < VOCAB; c += 4 * LOSS_THREADS) {
        Four x = load4(line + c);
        float highest = -INFINITY, total = 0.0f;
        for (int i = 0; i < 4; i++) {
            if (c + i < VOCAB) highest = fmaxf(highest, x.at[i]);
        }
        for (int i = 0; i < 4; i++) {
            if (c + i < VOCAB) total += exponential(x.at[i] - highest);
        }
        own = merged(own, Softmax{highest, total});
    }
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
        own = merged(own, Softmax{shuffle_xor(own.highest, lanes), shuffle_xor(own.total, lanes)});
    }
    if (lane == 0) warps[threadIdx.x / WARP] = own;
    barrier();
    own = warps[0];
    for (int w = 1; w < LOSS_THREADS / WARP; w++) own = merged(own, warps[w]);
    if (threadIdx.x == 0) losses[row] = logf(own.total) + own.highest - widen(line[target]);
    if (!train) return;
    // The loss above reads a logit that is overwritten below.
    barrier();
    float scale = per_row / own.total;
    for (u32 c = 4 * threadIdx.x; c < LOGITS; c += 4 * LOSS_THREADS) {
        Four x = load4(line + c);
        for (int i = 0; i < 4; i++) {
            float p = c + i < VOCAB ? exponential(x.at[i] - own.highest) * scale : 0.0f;
            x.at[i] = c + i == target ? p - per_row : p;
        }
        store4(line + c, x);
    }
}
