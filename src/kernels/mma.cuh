// Tensor cores: products of 16 x 8 x 16 bf16 numbers by a warp, summed in f32, and how their operands come from shared
// memory. A fragment of a left-hand side is 16 x 16, of a right-hand side 16 x 8, of a sum 16 x 8: in a sum, lane l holds
// columns 2 (l mod 4) and the next of rows l / 4 (numbers 0 and 1) and l / 4 + 8 (2 and 3).

// Rows in shared memory lie 16 bytes further apart than they are long, so that eight of them fall on different banks.
#define TILE_ROW (HEAD_DIM + 8)
// 16 bytes each.
#define CHUNKS (HEAD_DIM / 8)

#ifndef EMULATED

DEVICE u32 shared_address(const void *x) { return (u32)__cvta_generic_to_shared(x); }

// Four 8 x 8 matrices, the rows of the i-th given by the lanes from 8 i on.
DEVICE void load_matrices(u32 r[4], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

// Each of them transposed.
DEVICE void load_matrices_transposed(u32 r[4], const u16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

// sum += a b.
DEVICE void multiply(float sum[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes into shared memory behind the program's back; zeros where they are not wanted.
DEVICE void copy_chunk(u16 *to, const u16 *from, bool wanted) {
    u32 bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}

// One number likewise.
DEVICE void copy_number(float *to, const float *from, bool wanted) {
    u32 bytes = wanted ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}

DEVICE void commit_copies() { asm volatile("cp.async.commit_group;"); }

// Until at most `groups` of the committed ones are under way.
template <int groups>
DEVICE void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(groups));
}

#endif

// `rows` rows of a head, `stride` numbers apart, of which the first `there` exist, by `threads` threads.
template <int rows, int threads>
DEVICE void copy_tile(u16 *tile, const u16 *from, u64 stride, int there) {
    for (int i = threadIdx.x; i < rows * CHUNKS; i += threads) {
        int row = i / CHUNKS, chunk = i % CHUNKS;
        bool wanted = row < there;
        copy_chunk(tile + row * TILE_ROW + 8 * chunk, wanted ? from + row * stride + 8 * chunk : from, wanted);
    }
}

// The 16 x 16 left-hand side at (row, column) of a tile.
DEVICE void load_left(u32 a[4], const u16 *tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices(a, tile + (row + lane % 16) * TILE_ROW + column + lane / 16 * 8);
}

// Two right-hand sides b[k][n] = tile[row + n][column + k], n from 0 and from 8 on: {b[0], b[1]} and {b[2], b[3]}.
DEVICE void load_right_of_rows(u32 b[4], const u16 *tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices(b, tile + (row + lane % 8 + lane / 16 * 8) * TILE_ROW + column + lane / 8 % 2 * 8);
}

// Two right-hand sides b[k][n] = tile[row + k][column + n].
DEVICE void load_right(u32 b[4], const u16 *tile, int row, int column) {
    int lane = threadIdx.x % WARP;
    load_matrices_transposed(b, tile + (row + lane % 16) * TILE_ROW + column + lane / 16 * 8);
}

// Two neighbouring sums, 16 x 16 together, as a left-hand side.
DEVICE void left_of_sums(u32 a[4], const float first[4], const float second[4]) {
    a[0] = to_bf16_pair(first[0], first[1]);
    a[1] = to_bf16_pair(first[2], first[3]);
    a[2] = to_bf16_pair(second[0], second[1]);
    a[3] = to_bf16_pair(second[2], second[3]);
}
