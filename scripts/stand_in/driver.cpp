// The driver's part: memory, streams, graphs, modules, launches.
#include "stand_in.hpp"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default"))) Result

struct Block {
    size_t bytes;
    char *pages;
    size_t length;
};

struct Function {
    void (*run)(const uint32_t *, uint32_t, uint32_t, uint32_t, void **);
    // Bytes of each parameter, 0 behind the last.
    const size_t *(*parameters)();
    uint32_t shared = 48 << 10;
};

struct Module {
    void *library;
    std::map<std::string, Function> functions;
};

// One lock for everything: kernels keep their state in globals.
static std::recursive_mutex lock;
static std::map<uint64_t, Block> blocks;
static std::set<Stream *> streams;
static size_t taken;
static bool initialised;
static int contexts;
static thread_local bool current;
#define LOCKED std::lock_guard<std::recursive_mutex> locked(lock)

void wrong(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fprintf(stderr, "stand-in: ");
    vfprintf(stderr, format, words);
    fprintf(stderr, "\n");
    va_end(words);
    abort();
}

std::string setting(const char *name, const char *otherwise) {
    const char *said = getenv((std::string("STAND_IN_") + name).c_str());
    return said ? said : otherwise;
}

bool refuses(const char *what) { return setting("REFUSES", "").find(what) != std::string::npos; }

bool has_context() { return current && contexts > 0; }

static size_t total() { return strtoull(setting("MEMORY", "8589934592").c_str(), nullptr, 10); }

void check_allocated(const char *what, uint64_t at, size_t bytes) {
    auto after = blocks.upper_bound(at);
    if (after == blocks.begin()) wrong("%s: %zu bytes at %llx are nobody's", what, bytes, (unsigned long long)at);
    auto &[start, block] = *std::prev(after);
    if (at + bytes > start + block.bytes) wrong("%s: %zu bytes at %llx do not lie in one allocation", what, bytes, (unsigned long long)at);
}

static void may_touch(bool may) {
    for (auto &[start, block] : blocks)
        if (mprotect(block.pages, block.length, may ? PROT_READ | PROT_WRITE : PROT_NONE)) wrong("mprotect failed");
}

static void finish(Stream *stream) {
    if (stream->queue.empty()) return;
    may_touch(true);
    Tasks tasks;
    tasks.swap(stream->queue);
    for (auto &task : tasks) task();
    may_touch(false);
}

Result enqueue(void *handle, std::function<void()> task) {
    LOCKED;
    Stream *stream = (Stream *)handle;
    if (!has_context()) return INVALID_CONTEXT;
    if (!streams.count(stream)) wrong("a stream that is none");
    (stream->capturing ? stream->captured : stream->queue).push_back(std::move(task));
    return SUCCESS;
}

// Bytes of shared memory that a block may ask for, by the programming guide's table of compute capabilities.
static int block_shared() {
    std::string capability = setting("CAPABILITY", "9.0");
    if (capability == "8.0" || capability == "8.7") return 163 << 10;
    if (capability == "8.6" || capability == "8.9" || capability.substr(0, 3) == "12.") return 99 << 10;
    return capability == "7.5" ? 64 << 10 : 227 << 10;
}

API cuInit(unsigned flags) {
    LOCKED;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (flags) return INVALID_VALUE;
    if (visible && !*visible) return NO_DEVICE;
    initialised = true;
    return SUCCESS;
}

API cuDeviceGetCount(int *count) {
    *count = 1;
    return initialised ? SUCCESS : NOT_INITIALIZED;
}

API cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return !initialised ? NOT_INITIALIZED : ordinal == 0 ? SUCCESS : 101;
}

API cuDeviceGetName(char *name, int length, int) {
    snprintf(name, length, "%s", setting("NAME", "a stand-in").c_str());
    return SUCCESS;
}

API cuDeviceGetAttribute(int *value, int attribute, int) {
    std::string capability = setting("CAPABILITY", "9.0");
    size_t dot = capability.find('.');
    switch (attribute) {
    case 75: // COMPUTE_CAPABILITY_MAJOR
        *value = atoi(capability.c_str());
        return SUCCESS;
    case 76: // COMPUTE_CAPABILITY_MINOR
        *value = atoi(capability.c_str() + dot + 1);
        return SUCCESS;
    case 97: // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        *value = block_shared();
        return SUCCESS;
    }
    return INVALID_VALUE;
}

API cuDevicePrimaryCtxRetain(void **context, int) {
    LOCKED;
    contexts++;
    *context = &contexts;
    return initialised ? SUCCESS : NOT_INITIALIZED;
}

API cuDevicePrimaryCtxRelease_v2(int) {
    LOCKED;
    if (contexts == 0) return INVALID_CONTEXT;
    contexts--;
    return SUCCESS;
}

API cuCtxSetCurrent(void *context) {
    current = context == &contexts;
    return SUCCESS;
}

API cuCtxGetCurrent(void **context) {
    *context = current ? &contexts : nullptr;
    return SUCCESS;
}

API cuStreamCreate(void **stream, unsigned) {
    LOCKED;
    if (!has_context()) return INVALID_CONTEXT;
    Stream *made = new Stream;
    streams.insert(made);
    *stream = made;
    return SUCCESS;
}

API cuStreamSynchronize(void *handle) {
    LOCKED;
    Stream *stream = (Stream *)handle;
    if (!has_context()) return INVALID_CONTEXT;
    if (!streams.count(stream)) wrong("a stream that is none");
    if (stream->capturing) {
        stream->spoilt = true;
        return CAPTURE_UNSUPPORTED;
    }
    finish(stream);
    return SUCCESS;
}

API cuStreamDestroy_v2(void *handle) {
    LOCKED;
    Stream *stream = (Stream *)handle;
    if (!streams.erase(stream)) wrong("a stream that is none");
    finish(stream);
    delete stream;
    // Everything is somebody's, and this was the last one.
    if (streams.empty() && !blocks.empty()) wrong("%zu allocations were left behind", blocks.size());
    return SUCCESS;
}

API cuStreamBeginCapture_v2(void *handle, int) {
    LOCKED;
    Stream *stream = (Stream *)handle;
    if (stream->capturing) return INVALID_VALUE;
    stream->capturing = true;
    stream->spoilt = false;
    stream->captured.clear();
    return SUCCESS;
}

API cuStreamEndCapture(void *handle, void **graph) {
    LOCKED;
    Stream *stream = (Stream *)handle;
    *graph = nullptr;
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = false;
    if (stream->spoilt || refuses("graphs")) return CAPTURE_INVALIDATED;
    *graph = new Tasks(std::move(stream->captured));
    return SUCCESS;
}

API cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long) {
    *made = new Tasks(*(Tasks *)graph);
    return SUCCESS;
}

API cuGraphDestroy(void *graph) {
    delete (Tasks *)graph;
    return SUCCESS;
}

API cuGraphLaunch(void *graph, void *stream) {
    LOCKED;
    for (auto &task : *(Tasks *)graph)
        if (Result failed = enqueue(stream, task)) return failed;
    return SUCCESS;
}

API cuGraphExecDestroy(void *graph) {
    delete (Tasks *)graph;
    return SUCCESS;
}

// The last bytes of whole pages, between pages that nobody may touch: what reads or writes beyond its end by 256 bytes stops
// the process. What is there at first is no number.
API cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    LOCKED;
    if (!has_context()) return INVALID_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    if (bytes > total() - taken) return OUT_OF_MEMORY;
    size_t page = sysconf(_SC_PAGESIZE), rounded = (bytes + 255) / 256 * 256, length = (rounded + page - 1) / page * page;
    char *all = (char *)mmap(nullptr, length + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return OUT_OF_MEMORY;
    char *pages = all + page;
    *at = (uint64_t)(pages + length - rounded);
    blocks[*at] = Block{bytes, pages, length};
    taken += bytes;
    // Large ones are not worth the time, nor the machine's memory.
    if (length <= 256 << 20) {
        mprotect(pages, length, PROT_READ | PROT_WRITE);
        memset(pages, 0xff, length);
        mprotect(pages, length, PROT_NONE);
    }
    return SUCCESS;
}

API cuMemFree_v2(uint64_t at) {
    LOCKED;
    auto found = blocks.find(at);
    if (found == blocks.end()) wrong("%llx is freed, and nobody's", (unsigned long long)at);
    for (Stream *stream : streams) finish(stream);
    size_t page = sysconf(_SC_PAGESIZE);
    // The addresses stay taken, so that who still has them is found out.
    mmap(found->second.pages - page, found->second.length + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    taken -= found->second.bytes;
    blocks.erase(found);
    return SUCCESS;
}

API cuMemGetInfo_v2(size_t *free, size_t *all) {
    LOCKED;
    if (!has_context()) return INVALID_CONTEXT;
    *all = total();
    *free = total() - taken;
    return SUCCESS;
}

API cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    LOCKED;
    if (((Stream *)stream)->capturing) wrong("a copy from the host's memory is recorded");
    check_allocated("a copy to the device", to, bytes);
    return enqueue(stream, [=] { memcpy((void *)to, from, bytes); });
}

API cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    LOCKED;
    if (((Stream *)stream)->capturing) wrong("a copy into the host's memory is recorded");
    check_allocated("a copy from the device", from, bytes);
    return enqueue(stream, [=] { memcpy(to, (void *)from, bytes); });
}

API cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void *stream) {
    LOCKED;
    check_allocated("clearing", at, bytes);
    return enqueue(stream, [=] {
        check_allocated("clearing", at, bytes);
        memset((void *)at, value, bytes);
    });
}

// An image is the path of a library, as the compiler's part leaves it.
API cuModuleLoadData(void **module, const void *image) {
    LOCKED;
    if (!has_context()) return INVALID_CONTEXT;
    const char *path = (const char *)image;
    if (strncmp(path, "\x7f" "ELF", 4)) return INVALID_IMAGE;
    void *library = dlopen(path + 4, RTLD_NOW | RTLD_LOCAL);
    if (!library) wrong("%s", dlerror());
    auto in_order = (void (*)(uint32_t))dlsym(library, "emulate_in_order");
    in_order(atoi(setting("ORDER", "0").c_str()));
    *module = new Module{library, {}};
    return SUCCESS;
}

API cuModuleUnload(void *module) {
    delete (Module *)module;
    return SUCCESS;
}

API cuModuleGetFunction(void **function, void *handle, const char *name) {
    LOCKED;
    Module *module = (Module *)handle;
    auto symbol = [&](const char *prefix) { return dlsym(module->library, (std::string(prefix) + name).c_str()); };
    if (!symbol("launch_")) return NOT_FOUND;
    Function &f = module->functions[name];
    f.run = (decltype(f.run))symbol("launch_");
    f.parameters = (decltype(f.parameters))symbol("parameters_");
    *function = &f;
    return SUCCESS;
}

API cuFuncSetAttribute(void *function, int attribute, int value) {
    // MAX_DYNAMIC_SHARED_SIZE_BYTES
    if (attribute != 8 || value < 0 || value > block_shared()) return INVALID_VALUE;
    ((Function *)function)->shared = value;
    return SUCCESS;
}

// Parameters are copied as the kernel declares them.
API cuLaunchKernel(void *handle, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y, unsigned threads_z, unsigned shared,
                   void *stream, void **parameters, void **extra) {
    LOCKED;
    Function *function = (Function *)handle;
    if (x == 0 || x > 0x7fffffff || y == 0 || y > 65535 || z == 0 || z > 65535) return INVALID_VALUE;
    if (threads == 0 || threads > 1024 || threads % 32 || threads_y != 1 || threads_z != 1) return INVALID_VALUE;
    if (shared > function->shared || extra) return INVALID_VALUE;
    std::vector<std::vector<char>> copies;
    const size_t *sizes = function->parameters();
    for (size_t i = 0; sizes[i]; i++) copies.emplace_back((char *)parameters[i], (char *)parameters[i] + sizes[i]);
    auto run = function->run;
    return enqueue(stream, [=]() mutable {
        std::vector<void *> pointers;
        for (auto &copy : copies) pointers.push_back(copy.data());
        const uint32_t grid[3] = {x, y, z};
        run(grid, threads, shared, pointers.size(), pointers.data());
    });
}

API cuGetErrorName(Result, const char **name) {
    *name = "CUDA_ERROR";
    return SUCCESS;
}

API cuGetErrorString(Result error, const char **words) {
    *words = error == OUT_OF_MEMORY ? "out of memory" : "an error of the stand-in";
    return SUCCESS;
}
