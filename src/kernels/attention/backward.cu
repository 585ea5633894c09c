// Causal attention backward in bf16: see mod.rs and backward.rs. Two kernels, each the only writer of what it writes: one
// goes through the queries of a block of keys, for dk and dv, the other through the keys of a block of queries, for dq.
// Both compute the weights again from the scores and the logarithms of their sums.

// Queries at a time for a block of keys: sums of dk and dv leave few registers where heads are large.
#define QUERY_TILE (HEAD_DIM > 64 ? 32 : 64)
// Keys of a tile, or queries, whose weights a warp holds at a time.
#define PART 32
// Of keys or queries that a block owns, 16 a warp.
#define OWN_ROWS (16 * ATTENTION_WARPS)

// Bytes of shared memory: keys and values, queries and gradients of outputs twice, log_sums and deltas twice.
#define KEYS_BACK_SHARED ((2 * OWN_ROWS + 4 * QUERY_TILE) * TILE_ROW * 2 + 4 * QUERY_TILE * 4)
// Queries and gradients of outputs, keys and values twice.
#define QUERIES_BACK_SHARED ((2 * OWN_ROWS + 4 * KEY_ROWS) * TILE_ROW * 2)

// Starts the copy of a tile of queries, of the gradients of their outputs, and of what is known of each.
DEVICE void copy_queries(u16 *tile, float *known, const u16 *q, const u16 *dout, const float *log_sums, const float *deltas,
                         int from, int positions) {
    int there = positions - from;
    copy_tile<QUERY_TILE, ATTENTION_THREADS>(tile, q + (u64)from * QKV, QKV, there);
    copy_tile<QUERY_TILE, ATTENTION_THREADS>(tile + QUERY_TILE * TILE_ROW, dout + (u64)from * (HEADS * HEAD_DIM),
                                             HEADS * HEAD_DIM, there);
    // Zeros all of them where there is no query: the gradient of its output is 0, and so is what comes of it.
    for (int i = threadIdx.x; i < QUERY_TILE; i += ATTENTION_THREADS) {
        bool wanted = i < there;
        copy_number(known + i, wanted ? log_sums + from + i : log_sums, wanted);
        copy_number(known + QUERY_TILE + i, wanted ? deltas + from + i : deltas, wanted);
    }
    commit_copies();
}

// The rows of a warp from sums, 16 x HEAD_DIM, into rows of a gradient of q, k or v.
DEVICE void store_rows(u16 *to, const float sums[HEAD_DIM / 8][4], float scale, int first, int positions) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int row = first + lane / 4 + 8 * r;
        if (row >= positions) continue;
        u16 *line = to + (u64)row * QKV + 2 * (lane % 4);
#pragma unroll
        for (int d = 0; d < HEAD_DIM / 8; d++) {
            *(u32 *)(line + 8 * d) = to_bf16_pair(sums[d][2 * r] * scale, sums[d][2 * r + 1] * scale);
        }
    }
}

// Adds to two sums, 16 x PART, the products of 16 rows of two tiles, from `row` on, with PART rows of two others.
DEVICE void multiply_pairs(float first[PART / 8][4], float second[PART / 8][4], const u16 *down_first, const u16 *down_second,
                           int row, const u16 *across_first, const u16 *across_second, int part) {
#pragma unroll
    for (int d = 0; d < HEAD_DIM; d += 16) {
        u32 a_first[4], a_second[4];
        load_left(a_first, down_first, row, d);
        load_left(a_second, down_second, row, d);
#pragma unroll
        for (int n = 0; n < PART; n += 16) {
            u32 b[4];
            load_right_of_rows(b, across_first, part + n, d);
            multiply(first[n / 8], a_first, b[0], b[1]);
            multiply(first[n / 8 + 1], a_first, b[2], b[3]);
            load_right_of_rows(b, across_second, part + n, d);
            multiply(second[n / 8], a_second, b[0], b[1]);
            multiply(second[n / 8 + 1], a_second, b[2], b[3]);
        }
    }
}

// gridDim.y is sequences x key heads.
KERNEL void ATTENTION_BLOCKS attention_keys_back(const u16 *qkv, const u16 *dout, const float *log_sums,
                                                 const float *deltas, u32 positions, float scale, Mask mask, u16 *dqkv) {
    DYNAMIC_SHARED(u16, memory);
    u16 *k_tile = memory, *v_tile = memory + OWN_ROWS * TILE_ROW, *queries = v_tile + OWN_ROWS * TILE_ROW;
    float *known = (float *)(queries + 4 * QUERY_TILE * TILE_ROW);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, group = HEADS / KV_HEADS;
    const u32 sequence = blockIdx.y / KV_HEADS, kv_head = blockIdx.y % KV_HEADS;
    const u64 first_row = (u64)sequence * positions;
    const u16 *rows = qkv + first_row * QKV;
    const u16 *k = rows + (HEADS + kv_head) * HEAD_DIM, *v = k + KV_HEADS * HEAD_DIM;
    const int first = blockIdx.x * OWN_ROWS;
    copy_tile<OWN_ROWS, ATTENTION_THREADS>(k_tile, k + (u64)first * QKV, QKV, positions - first);
    copy_tile<OWN_ROWS, ATTENTION_THREADS>(v_tile, v + (u64)first * QKV, QKV, positions - first);

    // Tiles of all query heads of this key head, one after the other, from the first that sees a key of the block.
    const int skipped = first / QUERY_TILE;
    const int tiles = (positions + QUERY_TILE - 1) / QUERY_TILE - skipped;
    float dk[HEAD_DIM / 8][4] = {}, dv[HEAD_DIM / 8][4] = {};
    const float slope = scale * LOG2_E;
    const int key[2] = {first + 16 * warp + lane / 4, first + 16 * warp + lane / 4 + 8};
#define COPY_QUERIES(step)                                                                                                    \
    do {                                                                                                                      \
        u32 head = kv_head * group + (step) / tiles;                                                                          \
        u64 at = ((u64)sequence * HEADS + head) * positions;                                                                  \
        copy_queries(queries + (step) % 2 * 2 * QUERY_TILE * TILE_ROW, known + (step) % 2 * 2 * QUERY_TILE,                   \
                     rows + head * HEAD_DIM, dout + first_row * (HEADS * HEAD_DIM) + head * HEAD_DIM, log_sums + at,          \
                     deltas + at, (skipped + (step) % tiles) * QUERY_TILE, positions);                                        \
    } while (0)
    COPY_QUERIES(0);
    for (int step = 0; step < tiles * group; step++) {
        const u16 *q_tile = queries + step % 2 * 2 * QUERY_TILE * TILE_ROW, *do_tile = q_tile + QUERY_TILE * TILE_ROW;
        const float *sums_of = known + step % 2 * 2 * QUERY_TILE, *deltas_of = sums_of + QUERY_TILE;
        if (step + 1 < tiles * group) {
            COPY_QUERIES(step + 1);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        barrier();
        const int from = (skipped + step % tiles) * QUERY_TILE;

        const u64 head_weights = ((u64)sequence * HEADS + kv_head * group + step / tiles) * positions;
        // Keys down, queries across, a part of the tile at a time for the sake of registers.
#pragma unroll 1
        for (int part = 0; part < QUERY_TILE; part += PART) {
            // In the first parts no query may see a key of a warp.
            if (from + part + PART <= first + 16 * warp) continue;
            float weights[PART / 8][4] = {}, dweights[PART / 8][4] = {};
            multiply_pairs(weights, dweights, k_tile, v_tile, 16 * warp, q_tile, do_tile, part);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                for (int i = 0; i < 4; i++) {
                    int column = part + 8 * n + 2 * (lane % 4) + i % 2, query = from + column;
                    float weight = power_of_two(weights[n][i] * slope - sums_of[column] * LOG2_E);
                    if (query < key[i / 2]) weight = 0.0f;
                    float kept = drops(mask) ? factor(mask, (head_weights + query) * positions + key[i / 2]) : 1.0f;
                    dweights[n][i] = weight * (dweights[n][i] * kept - deltas_of[column]);
                    weights[n][i] = weight * kept;
                }
            }
#pragma unroll
            for (int n = 0; n < PART; n += 16) {
                u32 a_p[4], a_s[4];
                left_of_sums(a_p, weights[n / 8], weights[n / 8 + 1]);
                left_of_sums(a_s, dweights[n / 8], dweights[n / 8 + 1]);
#pragma unroll
                for (int d = 0; d < HEAD_DIM; d += 16) {
                    u32 b[4];
                    load_right(b, do_tile, part + n, d);
                    multiply(dv[d / 8], a_p, b[0], b[1]);
                    multiply(dv[d / 8 + 1], a_p, b[2], b[3]);
                    load_right(b, q_tile, part + n, d);
                    multiply(dk[d / 8], a_s, b[0], b[1]);
                    multiply(dk[d / 8 + 1], a_s, b[2], b[3]);
                }
            }
        }
        barrier();
    }
    u16 *out = dqkv + first_row * QKV + (HEADS + kv_head) * HEAD_DIM;
    store_rows(out, dk, scale, first + 16 * warp, positions);
    store_rows(out + KV_HEADS * HEAD_DIM, dv, 1.0f, first + 16 * warp, positions);
}

// gridDim.y is sequences x heads.
KERNEL void ATTENTION_BLOCKS attention_queries_back(const u16 *qkv, const u16 *dout, const float *log_sums,
                                                    const float *deltas, u32 positions, float scale, Mask mask,
                                                    u16 *dqkv) {
    DYNAMIC_SHARED(u16, memory);
    u16 *q_tile = memory, *do_tile = memory + OWN_ROWS * TILE_ROW, *kv = do_tile + OWN_ROWS * TILE_ROW;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 block = gridDim.x - 1 - blockIdx.x;
    const Place p = place_of(blockIdx.y, positions);
    const u16 *rows = qkv + p.first_row * QKV;
    const u16 *q = rows + p.head * HEAD_DIM, *k = rows + (HEADS + p.kv_head) * HEAD_DIM;
    const u16 *v = k + KV_HEADS * HEAD_DIM;
    const u16 *dout_rows = dout + p.first_row * (HEADS * HEAD_DIM) + p.head * HEAD_DIM;
    const int first = block * OWN_ROWS, left = positions - first;
    const int seen = first + OWN_ROWS < positions ? first + OWN_ROWS : positions;
    const int tiles = (seen + KEY_ROWS - 1) / KEY_ROWS;
    copy_tile<OWN_ROWS, ATTENTION_THREADS>(q_tile, q + (u64)first * QKV, QKV, left);
    copy_tile<OWN_ROWS, ATTENTION_THREADS>(do_tile, dout_rows + (u64)first * (HEADS * HEAD_DIM), HEADS * HEAD_DIM, left);
    copy_tile<KEY_ROWS, ATTENTION_THREADS>(kv, k, QKV, positions);
    copy_tile<KEY_ROWS, ATTENTION_THREADS>(kv + KEY_ROWS * TILE_ROW, v, QKV, positions);
    commit_copies();

    float dq[HEAD_DIM / 8][4] = {};
    const float slope = scale * LOG2_E;
    const int query[2] = {first + 16 * warp + lane / 4, first + 16 * warp + lane / 4 + 8};
    float log_sum[2], delta[2];
    for (int r = 0; r < 2; r++) {
        bool there = query[r] < positions;
        log_sum[r] = there ? log_sums[p.sums + query[r]] * LOG2_E : INFINITY;
        delta[r] = there ? deltas[p.sums + query[r]] : 0.0f;
    }
    for (int tile = 0; tile < tiles; tile++) {
        const u16 *k_tile = next_keys(kv, tile, tiles, k, v, positions), *v_tile = k_tile + KEY_ROWS * TILE_ROW;
        // A part of the tile at a time, for the sake of registers.
#pragma unroll 1
        for (int part = 0; part < KEY_ROWS; part += PART) {
            // Of the last parts a warp may see no key at all.
            if (tile * KEY_ROWS + part > first + 16 * warp + 15) break;
            float weights[PART / 8][4] = {}, dweights[PART / 8][4] = {};
            multiply_pairs(weights, dweights, q_tile, do_tile, 16 * warp, k_tile, v_tile, part);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                for (int i = 0; i < 4; i++) {
                    int key = tile * KEY_ROWS + part + 8 * n + 2 * (lane % 4) + i % 2, r = i / 2;
                    float weight = power_of_two(weights[n][i] * slope - log_sum[r]);
                    if (key > query[r]) weight = 0.0f;
                    float kept = drops(mask) ? factor(mask, (p.weights + query[r]) * positions + key) : 1.0f;
                    dweights[n][i] = weight * (dweights[n][i] * kept - delta[r]);
                }
            }
#pragma unroll
            for (int n = 0; n < PART; n += 16) {
                u32 a[4];
                left_of_sums(a, dweights[n / 8], dweights[n / 8 + 1]);
#pragma unroll
                for (int d = 0; d < HEAD_DIM; d += 16) {
                    u32 b[4];
                    load_right(b, k_tile, part + n, d);
                    multiply(dq[d / 8], a, b[0], b[1]);
                    multiply(dq[d / 8 + 1], a, b[2], b[3]);
                }
            }
        }
        barrier();
    }
    store_rows(dqkv + p.first_row * QKV + p.head * HEAD_DIM, dq, scale, first + 16 * warp, positions);
}
