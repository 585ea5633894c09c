// Sums over rows in a fixed order: see reduce.rs.

#define SUM_COLUMNS 32
#define SUM_ROWS 8

// partials [gridDim.y, width]: each block the sum of `rows_a_block` rows of x for 4 * SUM_COLUMNS columns, by SUM_COLUMNS x
// SUM_ROWS threads.
template <typename T>
DEVICE void block_sums_of(const T *x, u32 rows, u32 width, u32 rows_a_block, float *partials) {
    SHARED Four sums[SUM_ROWS][SUM_COLUMNS];
    u32 column = threadIdx.x % SUM_COLUMNS, line = threadIdx.x / SUM_COLUMNS;
    u32 c = 4 * (blockIdx.x * SUM_COLUMNS + column);
    u32 begin = blockIdx.y * rows_a_block;
    u32 end = begin + rows_a_block < rows ? begin + rows_a_block : rows;
    Four sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (c < width) {
#pragma unroll 4
        for (u32 row = begin + line; row < end; row += SUM_ROWS) {
            Four v = load4(x + (u64)row * width + c);
            for (int i = 0; i < 4; i++) sum.at[i] += v.at[i];
        }
    }
    sums[line][column] = sum;
    barrier();
    if (line == 0 && c < width) {
        for (int l = 1; l < SUM_ROWS; l++) {
            for (int i = 0; i < 4; i++) sum.at[i] += sums[l][column].at[i];
        }
        store4(partials + (u64)blockIdx.y * width + c, sum);
    }
}

KERNEL void block_sums(const Act *x, u32 rows, u32 width, u32 rows_a_block, float *partials) {
    block_sums_of(x, rows, width, rows_a_block, partials);
}

KERNEL void block_sums_f32(const float *x, u32 rows, u32 width, u32 rows_a_block, float *partials) {
    block_sums_of(x, rows, width, rows_a_block, partials);
}

// out[c] (+)= sum over `blocks` rows of partials, `stride` apart; SUM_COLUMNS columns a block of threads.
KERNEL void sum_partials(const float *partials, u32 blocks, u32 stride, u32 width, u32 add, float *out) {
    SHARED float sums[SUM_ROWS][SUM_COLUMNS];
    u32 column = threadIdx.x % SUM_COLUMNS, line = threadIdx.x / SUM_COLUMNS;
    u32 c = blockIdx.x * SUM_COLUMNS + column;
    float sum = 0.0f;
    if (c < width) {
#pragma unroll 4
        for (u32 b = line; b < blocks; b += SUM_ROWS) sum += partials[(u64)b * stride + c];
    }
    sums[line][column] = sum;
    barrier();
    if (line == 0 && c < width) {
        for (int l = 1; l < SUM_ROWS; l++) sum += sums[l][column];
        out[c] = add ? out[c] + sum : sum;
    }
}
