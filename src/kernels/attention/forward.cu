// Causal attention forward in bf16: see mod.rs and forward.rs. A block takes QUERY_ROWS queries of a head, 16 a warp, and
// goes through the keys that they see in tiles of KEY_ROWS, the next of which is on its way while one is worked on.

// ATTENTION_WARPS and KEY_ROWS come with the compilation: as much as the device has shared memory for.
#define ATTENTION_THREADS (ATTENTION_WARPS * WARP)
#define QUERY_ROWS (16 * ATTENTION_WARPS)
// Two blocks on a multiprocessor hide each other's waiting; heads above 64 leave no registers for that.
#define ATTENTION_BLOCKS AT_ONCE(ATTENTION_THREADS, HEAD_DIM > 64 ? 1 : 2)

// Bytes of shared memory: queries, and keys and values twice.
#define FORWARD_SHARED ((QUERY_ROWS + 4 * KEY_ROWS) * TILE_ROW * 2)

// Of one sequence and query head.
struct Place {
    u64 first_row; // of the sequence
    u32 head, kv_head;
    u64 weights; // the index, for dropout, of the weight of query 0 and key 0, over the length
    u64 sums;    // of log_sums and deltas
};

DEVICE Place place_of(u32 index, u32 positions) {
    Place p;
    u32 sequence = index / HEADS;
    p.head = index % HEADS;
    p.kv_head = p.head / (HEADS / KV_HEADS);
    p.first_row = (u64)sequence * positions;
    p.weights = (u64)index * positions;
    p.sums = (u64)index * positions;
    return p;
}

// Starts the copy of the keys and values after this tile's, if there are any, and waits for this tile's: its keys, which its
// values follow. One of the two places in `kv` holds what is worked on, the other what is on its way.
DEVICE const u16 *next_keys(u16 *kv, int tile, int tiles, const u16 *k, const u16 *v, int positions) {
    if (tile + 1 < tiles) {
        u16 *next = kv + (tile + 1) % 2 * 2 * KEY_ROWS * TILE_ROW;
        u64 from = (u64)(tile + 1) * KEY_ROWS;
        int there = positions - (int)from;
        copy_tile<KEY_ROWS, ATTENTION_THREADS>(next, k + from * QKV, QKV, there);
        copy_tile<KEY_ROWS, ATTENTION_THREADS>(next + KEY_ROWS * TILE_ROW, v + from * QKV, QKV, there);
        commit_copies();
        wait_for_copies<1>();
    } else {
        wait_for_copies<0>();
    }
    barrier();
    return kv + tile % 2 * 2 * KEY_ROWS * TILE_ROW;
}

KERNEL void ATTENTION_BLOCKS attention_forward(const u16 *qkv, u32 positions, float scale, Mask mask, u16 *out,
                                               float *log_sums) {
    DYNAMIC_SHARED(u16, memory);
    u16 *q_tile = memory, *kv = memory + QUERY_ROWS * TILE_ROW;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    // The longest rows first.
    const u32 block = gridDim.x - 1 - blockIdx.x;
    const Place p = place_of(blockIdx.y, positions);
    const u16 *rows = qkv + p.first_row * QKV;
    const u16 *q = rows + p.head * HEAD_DIM, *k = rows + (HEADS + p.kv_head) * HEAD_DIM;
    const u16 *v = k + KV_HEADS * HEAD_DIM;
    const int first = block * QUERY_ROWS, left = positions - first;
    const int seen = first + QUERY_ROWS < positions ? first + QUERY_ROWS : positions;
    const int tiles = (seen + KEY_ROWS - 1) / KEY_ROWS;

    copy_tile<QUERY_ROWS, ATTENTION_THREADS>(q_tile, q + (u64)first * QKV, QKV, left);
    copy_tile<KEY_ROWS, ATTENTION_THREADS>(kv, k, QKV, positions);
    copy_tile<KEY_ROWS, ATTENTION_THREADS>(kv + KEY_ROWS * TILE_ROW, v, QKV, positions);
    commit_copies();

    float sums[HEAD_DIM / 8][4] = {};
    float highest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    const float slope = scale * LOG2_E;
    // Of this lane's two rows.
    const int query[2] = {first + 16 * warp + lane / 4, first + 16 * warp + lane / 4 + 8};

    for (int tile = 0; tile < tiles; tile++) {
        const u16 *k_tile = next_keys(kv, tile, tiles, k, v, positions), *v_tile = k_tile + KEY_ROWS * TILE_ROW;

        // Of the last tiles a warp may see no key at all.
        if (tile * KEY_ROWS <= first + 16 * warp + 15) {
            float scores[KEY_ROWS / 8][4] = {};
#pragma unroll
            for (int d = 0; d < HEAD_DIM; d += 16) {
                u32 a[4];
                load_left(a, q_tile, 16 * warp, d);
#pragma unroll
                for (int n = 0; n < KEY_ROWS; n += 16) {
                    u32 b[4];
                    load_right_of_rows(b, k_tile, n, d);
                    multiply(scores[n / 8], a, b[0], b[1]);
                    multiply(scores[n / 8 + 1], a, b[2], b[3]);
                }
            }
            const int key = tile * KEY_ROWS + 2 * (lane % 4);
            if ((tile + 1) * KEY_ROWS > first + 16 * warp) {
#pragma unroll
                for (int n = 0; n < KEY_ROWS / 8; n++) {
                    for (int i = 0; i < 4; i++) {
                        if (key + 8 * n + i % 2 > query[i / 2]) scores[n][i] = -INFINITY;
                    }
                }
            }
            float shrink[2], base[2];
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float top = highest[r];
                for (int n = 0; n < KEY_ROWS / 8; n++) top = fmaxf(top, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
                top = fmaxf(top, shuffle_xor(top, 1));
                top = fmaxf(top, shuffle_xor(top, 2));
                // A row may see nothing of a tile that others of its warp see.
                base[r] = top == -INFINITY ? 0.0f : top * slope;
                shrink[r] = power_of_two(highest[r] * slope - base[r]);
                highest[r] = top;
                total[r] *= shrink[r];
            }
#pragma unroll
            for (int n = 0; n < KEY_ROWS / 8; n++) {
                for (int i = 0; i < 4; i++) {
                    float weight = power_of_two(scores[n][i] * slope - base[i / 2]);
                    total[i / 2] += weight;
                    if (drops(mask)) {
                        u64 index = (p.weights + query[i / 2]) * positions + key + 8 * n + i % 2;
                        weight *= factor(mask, index);
                    }
                    scores[n][i] = weight;
                }
            }
#pragma unroll
            for (int d = 0; d < HEAD_DIM / 8; d++) {
                for (int i = 0; i < 4; i++) sums[d][i] *= shrink[i / 2];
            }
#pragma unroll
            for (int n = 0; n < KEY_ROWS; n += 16) {
                u32 a[4];
                left_of_sums(a, scores[n / 8], scores[n / 8 + 1]);
#pragma unroll
                for (int d = 0; d < HEAD_DIM; d += 16) {
                    u32 b[4];
                    load_right(b, v_tile, n, d);
                    multiply(sums[d / 8], a, b[0], b[1]);
                    multiply(sums[d / 8 + 1], a, b[2], b[3]);
                }
            }
        }
        // Before the tile after the next one takes this one's place.
        barrier();
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        total[r] += shuffle_xor(total[r], 1);
        total[r] += shuffle_xor(total[r], 2);
        if (query[r] >= positions) continue;
        float inverse = 1.0f / total[r];
        u16 *row = out + (p.first_row + query[r]) * (HEADS * HEAD_DIM) + p.head * HEAD_DIM + 2 * (lane % 4);
#pragma unroll
        for (int d = 0; d < HEAD_DIM / 8; d++) {
            *(u32 *)(row + 8 * d) = to_bf16_pair(sums[d][2 * r] * inverse, sums[d][2 * r + 1] * inverse);
        }
        if (lane % 4 == 0) log_sums[p.sums + query[r]] = highest[r] * scale + LN_2 * log2f(total[r]);
    }
}
