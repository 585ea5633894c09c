// SwiGLU: see activation.rs. A number a thread.

KERNEL swiglu(device const float *gate [[buffer(0)]], device const float *up [[buffer(1)]], device float *y [[buffer(2)]],
              constant uint &count [[buffer(3)]], PLACE) {
    uint i = group * THREADS + at;
    if (i >= count) return;
    float g = gate[i];
    y[i] = g * sigmoid(g) * up[i];
}

KERNEL swiglu_back(device const float *gate [[buffer(0)]], device const float *up [[buffer(1)]],
                   device const float *dy [[buffer(2)]], device float *dgate [[buffer(3)]], device float *dup [[buffer(4)]],
                   constant uint &count [[buffer(5)]], PLACE) {
    uint i = group * THREADS + at;
    if (i >= count) return;
    float g = gate[i], s = sigmoid(g);
    dgate[i] = dy[i] * up[i] * s * (1.0f + g * (1.0f - s));
    dup[i] = dy[i] * (g * s);
}
