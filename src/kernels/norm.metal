// LayerNorm, and RMSNorm where there is no bias: see norm.rs. Where has_bias is 0, bias is not read.

// A SIMD group a row.
KERNEL norm_forward(device const float *gain [[buffer(0)]], device const float *bias [[buffer(1)]],
                    constant uint &has_bias [[buffer(2)]], constant float &eps [[buffer(3)]],
                    device const float *x [[buffer(4)]], device float *y [[buffer(5)]], device float *stats [[buffer(6)]],
                    constant uint &rows [[buffer(7)]], constant uint &width [[buffer(8)]], PLACE) {
    uint lane = at % SIMD, row = group * SIMDS + at / SIMD;
    if (row >= rows) return;
    device const float *in = x + (ulong)row * width;
    device float *out = y + (ulong)row * width;
    float total = 0.0f, squares = 0.0f;
    if (has_bias) {
        for (uint c = lane; c < width; c += SIMD) total += in[c];
        total = simd_total(total);
    }
    float mean = total / (float)width;
    for (uint c = lane; c < width; c += SIMD) squares += (in[c] - mean) * (in[c] - mean);
    float r = 1.0f / sqrt(simd_total(squares) / (float)width + eps);
    for (uint c = lane; c < width; c += SIMD) {
        float scaled = (in[c] - mean) * r * gain[c];
        out[c] = has_bias ? scaled + bias[c] : scaled;
    }
    if (lane == 0) {
        stats[2 * (ulong)row] = mean;
        stats[2 * (ulong)row + 1] = r;
    }
}

// Rows a group of the next kernel, as ROWS in reduce.rs.
#define NORM_ROWS 32

// The gradient of x into dx; partials [groups, 1 + has_bias, width] of the gradients of gain and bias, each the sum over
// NORM_ROWS rows in their order. First a SIMD group takes a row for its two means, then a thread takes columns.
KERNEL norm_back(device const float *gain [[buffer(0)]], constant uint &has_bias [[buffer(1)]],
                 device const float *x [[buffer(2)]], device const float *stats [[buffer(3)]],
                 device const float *dy [[buffer(4)]], device float *dx [[buffer(5)]], device float *partials [[buffer(6)]],
                 constant uint &rows [[buffer(7)]], constant uint &width [[buffer(8)]], PLACE) {
    threadgroup float means[NORM_ROWS];
    threadgroup float alongs[NORM_ROWS];
    uint lane = at % SIMD, first = group * NORM_ROWS;
    uint count = rows - first < NORM_ROWS ? rows - first : NORM_ROWS;
    device const float *own_stats = stats + 2 * (ulong)first;
    ulong start = (ulong)first * width;
    for (uint i = at / SIMD; i < count; i += SIMDS) {
        device const float *in = x + start + (ulong)i * width;
        device const float *d = dy + start + (ulong)i * width;
        float mean = own_stats[2 * i], r = own_stats[2 * i + 1], total = 0.0f, along = 0.0f;
        for (uint c = lane; c < width; c += SIMD) {
            float scaled = d[c] * gain[c];
            total += scaled;
            along += scaled * ((in[c] - mean) * r);
        }
        total = simd_total(total);
        along = simd_total(along);
        if (lane == 0) {
            means[i] = has_bias ? total / (float)width : 0.0f;
            alongs[i] = along / (float)width;
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device float *own = partials + (ulong)group * (1 + has_bias) * width;
    for (uint c = at; c < width; c += THREADS) {
        float scale = gain[c], dgain = 0.0f, dbias = 0.0f;
        for (uint i = 0; i < count; i++) {
            ulong k = start + (ulong)i * width + c;
            float r = own_stats[2 * i + 1], normalised = (x[k] - own_stats[2 * i]) * r, d = dy[k];
            dx[k] = r * (d * scale - means[i] - normalised * alongs[i]);
            dgain += d * normalised;
            dbias += d;
        }
        own[c] = dgain;
        if (has_bias) own[width + c] = dbias;
    }
}

// out[c] = sum over `blocks` rows of partials [blocks, width]; SIMD columns a group, each by SIMDS threads.
KERNEL sum_partials(device const float *partials [[buffer(0)]], constant uint &blocks [[buffer(1)]],
                    constant uint &width [[buffer(2)]], device float *out [[buffer(3)]], PLACE) {
    threadgroup float sums[SIMDS][SIMD];
    uint column = at % SIMD, line = at / SIMD, c = group * SIMD + column;
    float sum = 0.0f;
    if (c < width) {
        for (uint b = line; b < blocks; b += SIMDS) sum += partials[(ulong)b * width + c];
    }
    sums[line][column] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (line == 0 && c < width) {
        for (uint l = 1; l < SIMDS; l++) sum += sums[l][column];
        out[c] = sum;
    }
}
