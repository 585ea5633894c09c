// Rotary positions: see rope.rs. A thread turns a pair; sign is -1 on the way back.

// x and y [B, T, heads, 2 half]; cos and sin [at least T, half].
KERNEL rope(device const float *x [[buffer(0)]], device const float *cosines [[buffer(1)]],
            device const float *sines [[buffer(2)]], constant float &sign [[buffer(3)]], device float *y [[buffer(4)]],
            constant uint &positions [[buffer(5)]], constant uint &heads [[buffer(6)]], constant uint &half_width [[buffer(7)]],
            constant uint &pairs [[buffer(8)]], PLACE) {
    uint pair = group * THREADS + at;
    if (pair >= pairs) return;
    uint head = pair / half_width, j = pair % half_width;
    ulong a = (ulong)head * 2 * half_width + j, b = a + half_width;
    uint angle = head / heads % positions * half_width + j;
    float c = cosines[angle], s = sines[angle] * sign;
    y[a] = x[a] * c - x[b] * s;
    y[b] = x[b] * c + x[a] * s;
}
