// Causal attention without tensor cores, forward and backward: for f32, and for heads that are no multiple of 16. A warp a
// query (forward, dq) or a key (dk, dv); nothing here is fast, all of it is easy to check.

#define PLAIN_WARPS 4
// Numbers of a head that a lane holds: d = lane + WARP * i.
#define PARTS ((HEAD_DIM + WARP - 1) / WARP)

struct Part {
    float at[PARTS];
};

DEVICE Part load_part(const Act *x) {
    Part p;
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        int d = threadIdx.x % WARP + WARP * i;
        p.at[i] = d < HEAD_DIM ? widen(x[d]) : 0.0f;
    }
    return p;
}

DEVICE void store_part(Act *y, Part p, float scale) {
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        int d = threadIdx.x % WARP + WARP * i;
        if (d < HEAD_DIM) narrow(p.at[i] * scale, y + d);
    }
}

DEVICE float dot(Part a, Part b) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PARTS; i++) sum += a.at[i] * b.at[i];
    return warp_sum(sum);
}

DEVICE void add_to(Part *sum, float factor, Part x) {
#pragma unroll
    for (int i = 0; i < PARTS; i++) sum->at[i] += factor * x.at[i];
}

// Lanes that share a row and head, eight numbers each at a time: a power of two.
#define DELTA_LANES                                                                                                           \
    (HEAD_DIM <= 8 ? 1 : HEAD_DIM <= 16 ? 2 : HEAD_DIM <= 32 ? 4 : HEAD_DIM <= 64 ? 8 : HEAD_DIM <= 128 ? 16 : 32)

// deltas[b, h, t] = sum of o * do over a head. DELTA_LANES threads a row and head.
KERNEL void attention_deltas(const Act *out, const Act *dout, u32 positions, u32 count, float *deltas) {
    const u32 index = (blockIdx.x * blockDim.x + threadIdx.x) / DELTA_LANES, lane = threadIdx.x % DELTA_LANES;
    const u32 row = index / HEADS, head = index % HEADS;
    float sum = 0.0f;
    if (index < count) {
        const u64 from = (u64)index * HEAD_DIM;
        for (u32 d = 8 * lane; d < HEAD_DIM; d += 8 * DELTA_LANES) {
            for (u32 half = 0; half < 8; half += 4) {
                Four x = load4(out + from + d + half), y = load4(dout + from + d + half);
                for (int i = 0; i < 4; i++) sum += x.at[i] * y.at[i];
            }
        }
    }
    for (int lanes = DELTA_LANES / 2; lanes > 0; lanes /= 2) sum += shuffle_xor(sum, lanes);
    if (index < count && lane == 0) deltas[((u64)(row / positions) * HEADS + head) * positions + row % positions] = sum;
}

// gridDim.y is sequences x heads.
KERNEL void plain_forward(const Act *qkv, u32 positions, float scale, Mask mask, Act *out, float *log_sums) {
    u32 t = blockIdx.x * PLAIN_WARPS + threadIdx.x / WARP;
    if (t >= positions) return;
    u64 sequence = blockIdx.y / HEADS, head = blockIdx.y % HEADS, kv_head = head / (HEADS / KV_HEADS);
    const Act *rows = qkv + sequence * positions * QKV, *k = rows + (HEADS + kv_head) * HEAD_DIM;
    u64 place = (u64)blockIdx.y * positions + t;
    Part q = load_part(rows + (u64)t * QKV + head * HEAD_DIM), sum = {};
    float highest = -INFINITY, total = 0.0f;
    for (u32 s = 0; s <= t; s++) {
        float score = dot(q, load_part(k + (u64)s * QKV)) * scale;
        float top = fmaxf(highest, score);
        float shrink = exponential(highest - top), weight = exponential(score - top);
        total = total * shrink + weight;
        for (int i = 0; i < PARTS; i++) sum.at[i] *= shrink;
        if (mask.on) weight *= factor(mask, place * positions + s);
        add_to(&sum, weight, load_part(k + (u64)s * QKV + KV_HEADS * HEAD_DIM));
        highest = top;
    }
    store_part(out + (sequence * positions + t) * (HEADS * HEAD_DIM) + head * HEAD_DIM, sum, 1.0f / total);
    if (threadIdx.x % WARP == 0) log_sums[place] = highest + logf(total);
}

// gridDim.y is sequences x heads.
KERNEL void plain_queries_back(const Act *qkv, const Act *dout, const float *log_sums, const float *deltas, u32 positions,
                               float scale, Mask mask, Act *dqkv) {
    u32 t = blockIdx.x * PLAIN_WARPS + threadIdx.x / WARP;
    if (t >= positions) return;
    u64 sequence = blockIdx.y / HEADS, head = blockIdx.y % HEADS, kv_head = head / (HEADS / KV_HEADS);
    const Act *rows = qkv + sequence * positions * QKV, *k = rows + (HEADS + kv_head) * HEAD_DIM;
    u64 place = (u64)blockIdx.y * positions + t;
    Part q = load_part(rows + (u64)t * QKV + head * HEAD_DIM), sum = {};
    Part d = load_part(dout + (sequence * positions + t) * (HEADS * HEAD_DIM) + head * HEAD_DIM);
    for (u32 s = 0; s <= t; s++) {
        Part key = load_part(k + (u64)s * QKV);
        float weight = exponential(dot(q, key) * scale - log_sums[place]);
        float dweight = dot(d, load_part(k + (u64)s * QKV + KV_HEADS * HEAD_DIM));
        if (mask.on) dweight *= factor(mask, place * positions + s);
        add_to(&sum, weight * (dweight - deltas[place]), key);
    }
    store_part(dqkv + (sequence * positions + t) * QKV + head * HEAD_DIM, sum, scale);
}

// gridDim.y is sequences x key heads.
KERNEL void plain_keys_back(const Act *qkv, const Act *dout, const float *log_sums, const float *deltas, u32 positions,
                            float scale, Mask mask, Act *dqkv) {
    u32 s = blockIdx.x * PLAIN_WARPS + threadIdx.x / WARP;
    if (s >= positions) return;
    u64 sequence = blockIdx.y / KV_HEADS, kv_head = blockIdx.y % KV_HEADS;
    const Act *rows = qkv + sequence * positions * QKV, *k = rows + (u64)s * QKV + (HEADS + kv_head) * HEAD_DIM;
    Part key = load_part(k), value = load_part(k + KV_HEADS * HEAD_DIM), dk = {}, dv = {};
    for (u64 head = kv_head * (HEADS / KV_HEADS); head < (kv_head + 1) * (HEADS / KV_HEADS); head++) {
        for (u32 t = s; t < positions; t++) {
            u64 place = (sequence * HEADS + head) * positions + t;
            Part q = load_part(rows + (u64)t * QKV + head * HEAD_DIM);
            Part d = load_part(dout + (sequence * positions + t) * (HEADS * HEAD_DIM) + head * HEAD_DIM);
            float weight = exponential(dot(q, key) * scale - log_sums[place]);
            float kept = mask.on ? factor(mask, place * positions + s) : 1.0f;
            float dweight = dot(d, value) * kept;
            add_to(&dv, weight * kept, d);
            add_to(&dk, weight * (dweight - deltas[place]), q);
        }
    }
    u64 to = (u64)(k - qkv);
    store_part(dqkv + to, dk, scale);
    store_part(dqkv + to + KV_HEADS * HEAD_DIM, dv, 1.0f);
}
