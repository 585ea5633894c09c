// cuBLASLt's part: descriptions of products, what its documentation takes of them, and the products in plain loops.
#include "stand_in.hpp"
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define API extern "C" __attribute__((visibility("default"))) Result

const Result NOT_INITIALIZED_STATUS = 1, INVALID = 7, NOT_SUPPORTED = 15;
enum { R_32F = 0, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4, EPILOGUE_GELU_AUX = 32 | 128, EPILOGUE_GELU_AUX_BIAS = 36 | 128, EPILOGUE_DGELU = 64 | 128 };

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t ld;

    uint64_t bytes() const { return (type == R_32F ? 4 : 2) * (ld * (columns - 1) + rows); }
};

struct Description {
    int compute;
    int32_t transposed[2] = {0, 0};
    uint32_t epilogue = EPILOGUE_DEFAULT;
    uint64_t bias = 0, aux = 0;
    int64_t aux_ld = 0;
    int32_t bias_type = -1;

    bool has_bias() const { return epilogue == EPILOGUE_BIAS || epilogue == EPILOGUE_GELU_AUX_BIAS; }
    bool has_aux() const { return epilogue >= 128; }
};

struct Preference {
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};
};

// As the library's header has it.
struct Algorithm {
    uint64_t data[8];
};

struct Found {
    Algorithm algorithm;
    size_t workspace;
    Result state;
    float waves;
    int reserved[4];
};

API cublasLtCreate(void **handle) {
    *handle = new char;
    return has_context() ? 0 : NOT_INITIALIZED_STATUS;
}

API cublasLtDestroy(void *handle) {
    delete (char *)handle;
    return 0;
}

API cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    *layout = new Layout{type, rows, columns, ld};
    return 0;
}

API cublasLtMatrixLayoutDestroy(void *layout) {
    delete (Layout *)layout;
    return 0;
}

API cublasLtMatmulDescCreate(void **description, int compute, int scale) {
    *description = new Description{compute};
    return scale == R_32F ? 0 : NOT_SUPPORTED;
}

API cublasLtMatmulDescDestroy(void *description) {
    delete (Description *)description;
    return 0;
}

template <typename T>
static Result set(T &field, const void *value, size_t bytes) {
    if (bytes != sizeof(T)) return INVALID;
    memcpy(&field, value, bytes);
    return 0;
}

API cublasLtMatmulDescSetAttribute(void *handle, int attribute, const void *value, size_t bytes) {
    Description *d = (Description *)handle;
    switch (attribute) {
    case 3: return set(d->transposed[0], value, bytes);
    case 4: return set(d->transposed[1], value, bytes);
    case 7: return set(d->epilogue, value, bytes);
    case 8: return set(d->bias, value, bytes);
    case 11: return set(d->aux, value, bytes);
    case 12: return set(d->aux_ld, value, bytes);
    case 26: return set(d->bias_type, value, bytes);
    }
    return INVALID;
}

API cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = new Preference;
    return 0;
}

API cublasLtMatmulPreferenceDestroy(void *preference) {
    delete (Preference *)preference;
    return 0;
}

API cublasLtMatmulPreferenceSetAttribute(void *handle, int attribute, const void *value, size_t bytes) {
    Preference *p = (Preference *)handle;
    if (attribute == 1) return set(p->workspace, value, bytes);
    if (attribute >= 5 && attribute <= 8) return set(p->alignment[attribute - 5], value, bytes);
    return INVALID;
}

// Whether the library takes this, by its tables of supported types and epilogues.
static Result judge(const Description &d, const Layout &a, const Layout &b, const Layout &c, const Layout &out) {
    uint64_t m = d.transposed[0] ? a.columns : a.rows, k = d.transposed[0] ? a.rows : a.columns;
    uint64_t k2 = d.transposed[1] ? b.columns : b.rows, n = d.transposed[1] ? b.rows : b.columns;
    if (k != k2 || out.rows != m || out.columns != n || c.rows != m || c.columns != n) return INVALID;
    for (const Layout *l : {&a, &b, &c, &out})
        if (l->ld < (int64_t)l->rows || l->rows == 0 || l->columns == 0) return INVALID;
    if (a.type != b.type || c.type != out.type) return NOT_SUPPORTED;
    if (a.type == R_32F && out.type != R_32F) return NOT_SUPPORTED;
    if (d.compute != COMPUTE_32F && !(d.compute == COMPUTE_32F_FAST_TF32 && a.type == R_32F)) return NOT_SUPPORTED;
    if (d.has_bias() && (d.bias_type != out.type || !d.bias)) return NOT_SUPPORTED;
    if (d.has_aux()) {
        if (refuses("epilogues")) return NOT_SUPPORTED;
        if (!d.aux || d.aux % 16 || d.aux_ld % 8 || d.aux_ld < (int64_t)m) return INVALID;
    }
    switch (d.epilogue) {
    case EPILOGUE_DEFAULT: case EPILOGUE_BIAS: case EPILOGUE_GELU_AUX: case EPILOGUE_GELU_AUX_BIAS: case EPILOGUE_DGELU: return 0;
    }
    return NOT_SUPPORTED;
}

API cublasLtMatmulAlgoGetHeuristic(void *, void *description, void *a, void *b, void *c, void *d, void *handle, int wanted, void *results, int *count) {
    Preference *preference = (Preference *)handle;
    Description *of = (Description *)description;
    Result state = judge(*of, *(Layout *)a, *(Layout *)b, *(Layout *)c, *(Layout *)d);
    *count = state == 0 && wanted > 0;
    if (state) return state;
    Found found = {};
    // What was promised when this was asked for; the product is held to it.
    for (int i = 0; i < 4; i++) found.algorithm.data[i] = preference->alignment[i];
    found.algorithm.data[4] = of->epilogue;
    found.algorithm.data[5] = preference->workspace;
    memcpy(results, &found, sizeof found);
    return 0;
}

static float load(uint64_t at, int type, uint64_t i) {
    if (type == R_32F) return ((float *)at)[i];
    uint32_t bits = (uint32_t)((uint16_t *)at)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static void store(uint64_t at, int type, uint64_t i, float x) {
    if (type == R_32F) {
        ((float *)at)[i] = x;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &x, 4);
    ((uint16_t *)at)[i] = x != x ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float gelu(float x) { return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x))); }

static float gelu_slope(float x) {
    float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}

static void multiply(const Description &d, float beta, uint64_t at, const Layout &a, uint64_t bt, const Layout &b, uint64_t ct, uint64_t dt, const Layout &out) {
    check_allocated("a product's left side", at, a.bytes());
    check_allocated("a product's right side", bt, b.bytes());
    check_allocated("a product", dt, out.bytes());
    if (beta != 0) check_allocated("what a product is added to", ct, out.bytes());
    uint64_t m = out.rows, n = out.columns, k = d.transposed[0] ? a.rows : a.columns;
    if (d.has_bias()) check_allocated("a bias", d.bias, m * (d.bias_type == R_32F ? 4 : 2));
    if (d.has_aux()) check_allocated("what GELU leaves", d.aux, (out.type == R_32F ? 4 : 2) * (d.aux_ld * (n - 1) + m));
    std::vector<float> left(m * k), right(k * n);
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t l = 0; l < k; l++) left[i * k + l] = load(at, a.type, d.transposed[0] ? i * a.ld + l : l * a.ld + i);
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t l = 0; l < k; l++) right[j * k + l] = load(bt, b.type, d.transposed[1] ? l * b.ld + j : j * b.ld + l);
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t i = 0; i < m; i++) {
            float sums[8] = {};
            const float *x = &left[i * k], *y = &right[j * k];
            uint64_t l = 0;
            for (; l + 8 <= k; l += 8)
                for (int s = 0; s < 8; s++) sums[s] += x[l + s] * y[l + s];
            float sum = 0;
            for (float part : sums) sum += part;
            for (; l < k; l++) sum += x[l] * y[l];
            uint64_t to = j * out.ld + i, beside = j * d.aux_ld + i;
            if (beta != 0) sum += beta * load(ct, out.type, to);
            if (d.has_bias()) sum += load(d.bias, d.bias_type, i);
            if (d.epilogue == EPILOGUE_DGELU) {
                sum *= gelu_slope(load(d.aux, out.type, beside));
            } else if (d.has_aux()) {
                store(d.aux, out.type, beside, sum);
                sum = gelu(sum);
            }
            store(dt, out.type, to, sum);
        }
}

API cublasLtMatmul(void *, void *description, const void *alpha, uint64_t a, void *a_layout, uint64_t b, void *b_layout, const void *beta, uint64_t c,
                   void *c_layout, uint64_t d, void *d_layout, const void *algorithm, uint64_t workspace, size_t workspace_bytes, void *stream) {
    Description of = *(Description *)description;
    Layout al = *(Layout *)a_layout, bl = *(Layout *)b_layout, cl = *(Layout *)c_layout, dl = *(Layout *)d_layout;
    if (Result state = judge(of, al, bl, cl, dl)) return state;
    const Algorithm *found = (const Algorithm *)algorithm;
    const uint64_t places[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if (places[i] % found->data[i]) wrong("a product's operand %d at %llx was said to be aligned to %llu", i, (unsigned long long)places[i], (unsigned long long)found->data[i]);
    if (found->data[4] != of.epilogue) wrong("an algorithm for another epilogue");
    if (workspace_bytes < found->data[5]) wrong("less workspace than was said");
    check_allocated("a product's workspace", workspace, workspace_bytes);
    float one, scale;
    memcpy(&one, alpha, 4);
    memcpy(&scale, beta, 4);
    if (one != 1) wrong("alpha is %g", one);
    // Those that only say how fast a GPU is would take hours.
    uint64_t operations = dl.rows * dl.columns * (of.transposed[0] ? al.rows : al.columns);
    if (operations > strtoull(setting("LARGEST", "18446744073709551615").c_str(), nullptr, 10)) return 0;
    return enqueue(stream, [=] { multiply(of, scale, a, al, b, bl, c, d, dl); });
}
