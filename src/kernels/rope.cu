// Rotary positions: see rope.rs. A thread turns four pairs; sign is -1 on the way back.

#define HALF (HEAD_DIM / 2)

KERNEL void rope(Act *qkv, const float *cos, const float *sin, u32 positions, float sign, u64 rows) {
    const u32 per_row = (HEADS + KV_HEADS) * HALF / 4;
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * per_row) return;
    u64 row = i / per_row;
    u32 pair = 4 * (u32)(i % per_row), head = pair / HALF, j = pair % HALF;
    Act *a = qkv + row * QKV + head * HEAD_DIM + j;
    u64 angle = row % positions * HALF + j;
    Four x = load4(a), y = load4(a + HALF), c = load4(cos + angle), s = load4(sin + angle), p, q;
    for (int k = 0; k < 4; k++) {
        float turn = s.at[k] * sign;
        p.at[k] = x.at[k] * c.at[k] - y.at[k] * turn;
        q.at[k] = y.at[k] * c.at[k] + x.at[k] * turn;
    }
    store4(a, p);
    store4(a + HALF, q);
}
