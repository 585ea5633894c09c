// Softmax and cross-entropy: see loss.rs. A group a row.

// Highest of some logits and the sum of exponentials about it.
struct Softmax {
    float highest, total;
};

static inline Softmax merged(Softmax a, Softmax b) {
    float highest = fmax(a.highest, b.highest);
    // Of nothing yet, or of what is not a number.
    if (highest == -INFINITY) return Softmax{highest, a.total + b.total};
    return Softmax{highest, a.total * exp(a.highest - highest) + b.total * exp(b.highest - highest)};
}

// Logits that a thread looks at together.
#define TOGETHER 4

// logits [rows, vocab] become the gradient (softmax - onehot) * per_row where train is set. The loss of a target that is
// no row of the vocabulary is not a number.
KERNEL cross_entropy(device float *logits [[buffer(0)]], device const uint *targets [[buffer(1)]],
                     constant float &per_row [[buffer(2)]], constant uint &train [[buffer(3)]],
                     device float *losses [[buffer(4)]], constant uint &vocab [[buffer(5)]], PLACE) {
    threadgroup float highests[SIMDS];
    threadgroup float totals[SIMDS];
    device float *line = logits + (ulong)group * vocab;
    uint target = targets[group];
    Softmax own = {-INFINITY, 0.0f};
    for (uint c = at; c < vocab; c += TOGETHER * THREADS) {
        float x[TOGETHER], highest = -INFINITY, total = 0.0f;
        for (uint k = 0; k < TOGETHER; k++) {
            x[k] = c + k * THREADS < vocab ? line[c + k * THREADS] : -INFINITY;
            highest = fmax(highest, x[k]);
        }
        for (uint k = 0; k < TOGETHER; k++) total += x[k] == -INFINITY ? 0.0f : exp(x[k] - highest);
        own = merged(own, Softmax{highest, total});
    }
    for (ushort lanes = SIMD / 2; lanes > 0; lanes /= 2) {
        own = merged(own, Softmax{simd_shuffle_xor(own.highest, lanes), simd_shuffle_xor(own.total, lanes)});
    }
    if (at % SIMD == 0) {
        highests[at / SIMD] = own.highest;
        totals[at / SIMD] = own.total;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    own = Softmax{highests[0], totals[0]};
    for (uint i = 1; i < SIMDS; i++) own = merged(own, Softmax{highests[i], totals[i]});
    if (at == 0) losses[group] = target < vocab ? log(own.total) + own.highest - line[target] : NAN;
    if (!train) return;
    // The loss above reads a logit that is overwritten below.
    threadgroup_barrier(mem_flags::mem_device);
    float scale = per_row / own.total;
    for (uint c = at; c < vocab; c += THREADS) {
        float p = exp(line[c] - own.highest) * scale;
        line[c] = c == target ? p - per_row : p;
    }
}
