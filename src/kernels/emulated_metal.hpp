// Metal on a processor, on top of emulated.hpp: its fibres are the threads, its warps the SIMD groups. What the compiler of
// Metal asks for and this one does not is that pointers and references say where they point; a test reads the text for that.

typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

enum class mem_flags { mem_none, mem_device, mem_threadgroup };

// Metal wants all threads of a group at every barrier, those that returned too.
static inline void threadgroup_barrier(mem_flags) {
    if (emulated::alive != emulated::block.x) {
        fprintf(stderr, "a thread returned before a barrier\n");
        abort();
    }
    emulated::barrier_all();
}

static inline float simd_shuffle_xor(float x, ushort lanes) { return shuffle_xor(x, lanes); }

namespace emulated {

template <typename... A>
constexpr size_t parameters(void (*)(A...)) {
    return sizeof...(A);
}

template <typename... A, size_t... I>
static void call_with(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A> *)arguments[I]...);
}

// As launch(), for kernels whose last two parameters are PLACE, which every thread has its own of.
template <typename... A>
static void launch_metal(void (*kernel)(A...), u32 groups, u32 threads, void **arguments) {
    struct Call {
        void (*kernel)(A...);
        void **arguments;
    } of = {kernel, arguments};
    body = [](void *of) {
        Call *c = (Call *)of;
        const size_t count = sizeof...(A);
        uint at = current->thread.x, group = block_at.x;
        void *all[count];
        for (size_t i = 0; i + 2 < count; i++) all[i] = c->arguments[i];
        all[count - 2] = &at;
        all[count - 1] = &group;
        call_with(c->kernel, all, std::index_sequence_for<A...>());
    };
    body_arguments = &of;
    grid = Index{groups, 1, 1};
    block = Index{threads, 1, 1};
    arrange(block_turns, groups);
    for (u32 x : block_turns) {
        block_at = Index{x, 0, 0};
        run_block(threads);
    }
}

} // namespace emulated

// A kernel that can be launched by name from outside, if it is given as many arguments as it has.
#define EXPORT_METAL(name)                                                                                                    \
    extern "C" int launch_##name(u32 groups, u32 threads, size_t count, void **arguments) {                                   \
        if (count + 2 != emulated::parameters(name)) return 0;                                                                \
        emulated::launch_metal(name, groups, threads, arguments);                                                             \
        return 1;                                                                                                             \
    }

// From here on the words are Metal's. Nothing of the standard library may follow.
#undef KERNEL
#define device
#define thread
#define constant const
#define threadgroup static
