// What the parts of the stand-in share: the device, and its memory.
//
// Written from NVIDIA's documentation of the driver, NVRTC and cuBLASLt, apart from the bindings that Lehr uses: where the
// two disagree about an argument or a number, one of them is wrong. What is asked for on a stream is done when the stream is
// waited for and not before, and between those times nobody can touch the device's memory: a program that does not wait, or
// that follows a device's pointer, is found out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

typedef int Result;
const Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
             NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901;

typedef std::vector<std::function<void()>> Tasks;

struct Stream {
    Tasks queue;
    bool capturing = false, spoilt = false;
    Tasks captured;
};

// Ends the process, for what a program must never do.
[[noreturn]] void wrong(const char *format, ...);
// What STAND_IN_<name> says.
std::string setting(const char *name, const char *otherwise);
// Whether STAND_IN_REFUSES names this.
bool refuses(const char *what);
// Puts a task on a stream, or into what is captured there.
Result enqueue(void *stream, std::function<void()> task);
// Ends the process unless these bytes lie in one allocation.
void check_allocated(const char *what, uint64_t at, size_t bytes);
// Whether this thread has made a context current.
bool has_context();
