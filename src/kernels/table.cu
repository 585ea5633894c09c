// Embeddings: see table.rs.

// out[n] = table[ids[n]] + positions[n mod length], masked. A block a row.
KERNEL void embed(const u32 *ids, const float *table, const float *positions, u32 length, Mask mask, float *out) {
    u64 row = blockIdx.x;
    const float *from = table + (u64)ids[row] * WIDTH;
    for (u32 c = 4 * threadIdx.x; c < WIDTH; c += 4 * blockDim.x) {
        Four x = load4(from + c);
        if (positions) {
            Four p = load4(positions + (row % length) * WIDTH + c);
            for (int i = 0; i < 4; i++) x.at[i] += p.at[i];
        }
        if (mask.on) {
            for (int i = 0; i < 4; i++) x.at[i] *= factor(mask, row * WIDTH + c + i);
        }
        store4(out + row * WIDTH + c, x);
    }
}

// dtable[v] (+)= sum of dy[n] over the positions n of id v, in their order. A block a row of the table.
KERNEL void table_back(const u32 *starts, const u32 *order, const float *dy, Mask mask, u32 add, float *dtable) {
    u64 id = blockIdx.x;
    u32 begin = starts[id], end = starts[id + 1];
    if (begin == end && add) return;
    for (u32 c = 4 * threadIdx.x; c < WIDTH; c += 4 * blockDim.x) {
        float *out = dtable + id * WIDTH + c;
        Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
        if (add) sum = load4(out);
#pragma unroll 4
        for (u32 k = begin; k < end; k++) {
            u64 first = (u64)order[k] * WIDTH + c;
            Four x = load4(dy + first);
            for (int i = 0; i < 4; i++) sum.at[i] += mask.on ? x.at[i] * factor(mask, first + i) : x.at[i];
        }
        store4(out, sum);
    }
}

// dpositions[t] (+)= sum over the batch of dy[b, t]. A block a position.
KERNEL void positions_back(const float *dy, u32 batch, u32 length, Mask mask, u32 add, float *dpositions) {
    u64 t = blockIdx.x;
    for (u32 c = 4 * threadIdx.x; c < WIDTH; c += 4 * blockDim.x) {
        float *out = dpositions + t * WIDTH + c;
        Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
        if (add) sum = load4(out);
#pragma unroll 4
        for (u32 b = 0; b < batch; b++) {
            u64 first = ((u64)b * length + t) * WIDTH + c;
            Four x = load4(dy + first);
            for (int i = 0; i < 4; i++) sum.at[i] += mask.on ? x.at[i] * factor(mask, first + i) : x.at[i];
        }
        store4(out, sum);
    }
}
