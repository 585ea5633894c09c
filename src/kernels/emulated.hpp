// The device on a processor: every thread of a block is a fibre, a barrier and whatever a warp does together hand over to
// the next one. Slow, exact about who sees what when, and enough to hold every kernel against its oracle where there is no
// device. Blocks run one after the other. In which order threads and blocks have their turns is nobody's business on a real
// device: where two orders give two results, a barrier is missing (`emulate_in_order`).
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <utility>
#include <vector>

typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
#define KERNEL extern "C"
#define DEVICE static inline
#define SHARED static
#define AT_ONCE(threads, blocks)
#define DYNAMIC_SHARED(type, name) type *name = (type *)emulated::dynamic_shared
#define __restrict__

struct float4 {
    float x, y, z, w;
};
struct uint2 {
    u32 x, y;
};
static inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
static inline uint2 make_uint2(u32 x, u32 y) { return uint2{x, y}; }

namespace emulated {

struct Index {
    u32 x, y, z;
};

const int LANES = 32;
const size_t STACK = 256 << 10;

// What the lanes of a warp do together: each leaves its part, the last one does the work for all.
struct Together {
    const void *site = nullptr;
    int arrived = 0;
    unsigned turn = 0;
    const void *in[LANES];
    void *out[LANES];
};

struct Fibre {
    ucontext_t start;
    jmp_buf here;
    bool begun = false, done = false;
    // At the barrier that has this number.
    bool waits = false;
    unsigned turn = 0;
    Index thread;
};

static Index grid, block, block_at;
static std::vector<Fibre> fibres;
static std::vector<char> stacks;
static std::vector<Together> warps;
static std::vector<char> shared_memory;
static char *dynamic_shared;
static Fibre *current;
static jmp_buf scheduler;
static unsigned barrier_turn, waiting, alive;
// Whatever a thread does but wait.
static u64 progress;
// Who has a turn. 0: threads as they are numbered, all of a block side by side. 1 and 2: one warp goes as far as a barrier lets
// it before another moves, the last one first, or the first. Otherwise shuffled, each time differently.
static u32 order;
static u64 shuffle_state;
static std::vector<u32> turns, block_turns;
static void (*body)(void *);
static void *body_arguments;

[[noreturn]] static void stuck(const char *how) {
    fprintf(stderr, "emulated kernel: %s\n", how);
    abort();
}

static void yield() {
    if (!_setjmp(current->here)) _longjmp(scheduler, 1);
}

static void enter() {
    body(body_arguments);
    current->done = true;
    progress++;
    alive--;
    if (alive && waiting == alive) {
        waiting = 0;
        barrier_turn++;
    }
    _longjmp(scheduler, 1);
}

static void barrier_all() {
    current->turn = barrier_turn;
    current->waits = true;
    progress++;
    if (++waiting == alive) {
        waiting = 0;
        barrier_turn++;
    }
    // The last one too: whoever is first after a barrier is the order's to say.
    do yield();
    while (current->turn == barrier_turn);
    current->waits = false;
}

// `work` sees what every lane of the warp left, and gives each its own.
template <typename In, typename Out, typename Work>
static Out together(const In &in, Work work) {
    Out out;
    u32 index = current->thread.x;
    Together &warp = warps[index / LANES];
    static char here;
    if (warp.arrived && warp.site != &here) stuck("lanes of a warp do different things together");
    warp.site = &here;
    progress++;
    warp.in[index % LANES] = &in;
    warp.out[index % LANES] = &out;
    unsigned turn = warp.turn;
    if (++warp.arrived == LANES) {
        work((const In *const *)warp.in, (Out *const *)warp.out);
        warp.arrived = 0;
        warp.turn++;
    }
    while (turn == warp.turn) yield();
    return out;
}

static u32 shuffled(u32 below) {
    shuffle_state = shuffle_state * 6364136223846793005u + 1442695040888963407u;
    return (shuffle_state >> 33) % below;
}

static void arrange(std::vector<u32> &turns, u32 count) {
    turns.resize(count);
    for (u32 i = 0; i < count; i++) turns[i] = order == 1 ? count - 1 - i : i;
    for (u32 i = count; order > 2 && i > 1; i--) std::swap(turns[i - 1], turns[shuffled(i)]);
}

// Gives each of these threads a turn, until all are done or at a barrier, or one opens; whether any of them could use it.
static bool go_on(u32 first, u32 count) {
    static std::vector<u32> turns;
    static u32 i, from, moved;
    static unsigned before;
    static u64 progress_before;
    arrange(turns, count);
    from = first;
    moved = 0;
    before = barrier_turn;
    progress_before = progress;
    for (i = 0; i < count && before == barrier_turn; i++) {
        current = &fibres[from + turns[i]];
        if (current->done || (current->waits && current->turn == barrier_turn)) continue;
        moved++;
        if (!_setjmp(scheduler)) {
            if (current->begun) _longjmp(current->here, 1);
            current->begun = true;
            setcontext(&current->start);
        }
    }
    if (moved && progress == progress_before) stuck("lanes of a warp wait for others that never come");
    return moved > 0;
}

static void run_block(u32 threads) {
    fibres.assign(threads, Fibre());
    stacks.resize(threads * STACK);
    warps.assign(threads / LANES, Together());
    alive = threads;
    waiting = 0;
    for (u32 i = 0; i < threads; i++) {
        Fibre &f = fibres[i];
        f.thread = Index{i, 0, 0};
        getcontext(&f.start);
        f.start.uc_stack.ss_sp = &stacks[i * STACK];
        f.start.uc_stack.ss_size = STACK;
        f.start.uc_link = nullptr;
        makecontext(&f.start, enter, 0);
    }
    while (alive) {
        if (order == 1 || order == 2) {
            arrange(turns, threads / LANES);
            unsigned before = barrier_turn;
            for (u32 i = 0; i < turns.size() && before == barrier_turn; i++)
                while (before == barrier_turn && go_on(turns[i] * LANES, LANES)) {
                }
        } else {
            go_on(0, threads);
        }
    }
}

template <typename... A, size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(A *)arguments[I]...);
}

template <typename... A>
static void launch(void (*kernel)(A...), const u32 *blocks, u32 threads, u32 shared, u32 count, void **arguments) {
    if (count != sizeof...(A)) stuck("launched with more or fewer arguments than it has");
    struct Call {
        void (*kernel)(A...);
        void **arguments;
    } of = {kernel, arguments};
    body = [](void *of) {
        Call *c = (Call *)of;
        call(c->kernel, c->arguments, std::index_sequence_for<A...>());
    };
    body_arguments = &of;
    shared_memory.assign(shared + 64, (char)0xff);
    dynamic_shared = (char *)(((uintptr_t)shared_memory.data() + 63) & ~(uintptr_t)63);
    grid = Index{blocks[0], blocks[1], blocks[2]};
    block = Index{threads, 1, 1};
    arrange(block_turns, grid.x * grid.y * grid.z);
    for (u32 at : block_turns) {
        block_at = Index{at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
        run_block(threads);
    }
}

} // namespace emulated

// From the next launch on.
extern "C" void emulate_in_order(u32 order) {
    emulated::order = order;
    emulated::shuffle_state = order;
}

#define threadIdx (emulated::current->thread)
#define blockIdx (emulated::block_at)
#define blockDim (emulated::block)
#define gridDim (emulated::grid)

// A kernel that can be launched by name from outside.
#define EXPORT(name)                                                                                                          \
    extern "C" void launch_##name(const u32 *blocks, u32 threads, u32 shared, u32 count, void **arguments) {                  \
        emulated::launch(name, blocks, threads, shared, count, arguments);                                                    \
    }

DEVICE u32 bits_of(float x) {
    u32 y;
    memcpy(&y, &x, 4);
    return y;
}

DEVICE float float_of(u32 x) {
    float y;
    memcpy(&y, &x, 4);
    return y;
}

DEVICE u16 to_bf16(float x) {
    u32 bits = bits_of(x);
    if (x != x) return 0x7fff;
    return (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

DEVICE u32 to_bf16_pair(float low, float high) { return (u32)to_bf16(low) | (u32)to_bf16(high) << 16; }
DEVICE void barrier() { emulated::barrier_all(); }
DEVICE float exponential(float x) { return expf(x); }
DEVICE float power_of_two(float x) { return exp2f(x); }
DEVICE float quotient(float x, float y) { return x / y; }

struct Shuffled {
    float x;
    int lane;
};

DEVICE float shuffle(float x, int lane) {
    Shuffled in = {x, lane};
    return emulated::together<Shuffled, float>(in, [](const Shuffled *const *in, float *const *out) {
        for (int l = 0; l < emulated::LANES; l++) *out[l] = in[in[l]->lane]->x;
    });
}

DEVICE float shuffle_xor(float x, int lanes) { return shuffle(x, (int)(threadIdx.x % emulated::LANES) ^ lanes); }

struct Matrices {
    u32 r[4];
};

template <bool transposed>
static Matrices load_four(const u16 *row) {
    return emulated::together<const u16 *, Matrices>(row, [](const u16 *const *const *in, Matrices *const *out) {
        for (int l = 0; l < emulated::LANES; l++)
            for (int m = 0; m < 4; m++) {
                u16 pair[2];
                for (int k = 0; k < 2; k++) {
                    int row = l / 4, column = 2 * (l % 4) + k;
                    pair[k] = transposed ? (*in[8 * m + column])[row] : (*in[8 * m + row])[column];
                }
                out[l]->r[m] = (u32)pair[0] | (u32)pair[1] << 16;
            }
    });
}

DEVICE void load_matrices(u32 r[4], const u16 *row) { memcpy(r, load_four<false>(row).r, 16); }
DEVICE void load_matrices_transposed(u32 r[4], const u16 *row) { memcpy(r, load_four<true>(row).r, 16); }

struct Operands {
    float sum[4];
    u32 a[4], b[2];
};

struct Sums {
    float at[4];
};

DEVICE float half_of(u32 pair, int k) { return float_of(k ? pair & 0xffff0000u : pair << 16); }

DEVICE void multiply(float sum[4], const u32 a[4], u32 b0, u32 b1) {
    Operands own;
    memcpy(own.sum, sum, 16);
    memcpy(own.a, a, 16);
    own.b[0] = b0;
    own.b[1] = b1;
    Sums s = emulated::together<Operands, Sums>(own, [](const Operands *const *in, Sums *const *out) {
        float left[16][16], right[16][8];
        for (int l = 0; l < emulated::LANES; l++)
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 2; k++) {
                    left[l / 4 + i % 2 * 8][2 * (l % 4) + k + i / 2 * 8] = half_of(in[l]->a[i], k);
                    if (i < 2) right[2 * (l % 4) + k + i * 8][l / 4] = half_of(in[l]->b[i], k);
                }
        for (int l = 0; l < emulated::LANES; l++)
            for (int i = 0; i < 4; i++) {
                int row = l / 4 + i / 2 * 8, column = 2 * (l % 4) + i % 2;
                float sum = in[l]->sum[i];
                for (int k = 0; k < 16; k++) sum += left[row][k] * right[k][column];
                out[l]->at[i] = sum;
            }
    });
    memcpy(sum, s.at, 16);
}

// Copies that are under way land when they are waited for and not before, so that a kernel that does not wait is found out;
// in other orders they land at once, so that one is found out that copies to where others still read, or some do.
struct Copy {
    void *to;
    size_t bytes;
    char chunk[16];
};

struct Copies {
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};

static std::vector<Copies> under_way;

DEVICE Copies &own_copies() {
    u32 i = threadIdx.x;
    if (under_way.size() <= i) under_way.resize(i + 1);
    return under_way[i];
}

static inline void begin_copy(void *to, const void *from, size_t bytes, bool wanted) {
    Copy c = {to, bytes, {}};
    if (wanted) memcpy(c.chunk, from, bytes);
    if (emulated::order == 1 || emulated::order == 2 || (emulated::order > 2 && emulated::shuffled(2))) {
        memcpy(to, c.chunk, bytes);
        return;
    }
    own_copies().open.push_back(c);
}

DEVICE void copy_chunk(u16 *to, const u16 *from, bool wanted) { begin_copy(to, from, 16, wanted); }
DEVICE void copy_number(float *to, const float *from, bool wanted) { begin_copy(to, from, 4, wanted); }

DEVICE void commit_copies() {
    Copies &own = own_copies();
    own.groups.push_back(std::move(own.open));
    own.open.clear();
}

template <int groups>
DEVICE void wait_for_copies() {
    Copies &own = own_copies();
    while (own.groups.size() > groups) {
        for (Copy &c : own.groups.front()) memcpy(c.to, c.chunk, c.bytes);
        own.groups.erase(own.groups.begin());
    }
}
