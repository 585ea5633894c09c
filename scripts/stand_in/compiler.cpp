// NVRTC's part: the system's C++ compiler makes the kernels ordinary functions, under src/kernels/emulated.hpp. Libraries are
// kept, by what they were made of.
#include "stand_in.hpp"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <unistd.h>

#define API extern "C" __attribute__((visibility("default"))) Result

const Result OUT_OF_OPTIONS = 5, COMPILATION = 6;

struct Compiled {
    std::string source, image, log;
};

API nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return 0;
}

API nvrtcCreateProgram(void **program, const char *source, const char *, int, const char *const *, const char *const *) {
    *program = new Compiled{source, "", ""};
    return 0;
}

API nvrtcDestroyProgram(void **program) {
    delete (Compiled *)*program;
    *program = nullptr;
    return 0;
}

static std::string text_of(const std::string &path) {
    std::ifstream file(path);
    if (!file) wrong("no %s", path.c_str());
    return std::string(std::istreambuf_iterator<char>(file), {});
}

static std::vector<std::string> kernels(const std::string &text) {
    const std::string mark = "KERNEL void ";
    std::vector<std::string> names;
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
        size_t end = text.find('(', at);
        size_t begin = text.rfind(' ', end) + 1;
        names.push_back(text.substr(begin, end - begin));
    }
    return names;
}

API nvrtcCompileProgram(void *handle, int count, const char *const *options) {
    Compiled *program = (Compiled *)handle;
    const std::set<std::string> known = {"sm_75", "sm_80", "sm_86", "sm_87", "sm_88", "sm_89", "sm_90", "sm_100", "sm_103", "sm_110", "sm_120", "sm_121"};
    std::string all = "#define EMULATED\n", architecture;
    for (int i = 0; i < count; i++) {
        std::string option = options[i];
        if (option.rfind("-D", 0) == 0) {
            option.replace(option.find('='), 1, " ");
            all += "#define " + option.substr(2) + "\n";
        } else if (option.rfind("--gpu-architecture=", 0) == 0) {
            architecture = option.substr(option.find('=') + 1);
        } else if (option != "--std=c++17") {
            return OUT_OF_OPTIONS;
        }
    }
    if (!known.count(architecture)) return OUT_OF_OPTIONS;
    all += text_of(EMULATED_HPP) + program->source + R"(
template <typename... A>
const size_t *parameters_of(void (*)(A...)) {
    static const size_t sizes[] = {sizeof(A)..., 0};
    return sizes;
}
)";
    for (const std::string &name : kernels(program->source))
        all += "EXPORT(" + name + ")\nextern \"C\" const size_t *parameters_" + name + "() { return parameters_of(" + name + "); }\n";
    char stem[4096];
    snprintf(stem, sizeof stem, "%s/kernels-%016zx", setting("KERNELS", "/tmp").c_str(), std::hash<std::string>()(all));
    std::string library = std::string(stem) + ".so", own = std::string(stem) + "." + std::to_string(getpid());
    if (access(library.c_str(), R_OK)) {
        std::ofstream(own + ".cpp") << all;
        std::string command = "c++ -std=c++17 -O2 -w -fPIC -shared -o " + own + ".so " + own + ".cpp 2> " + own + ".log";
        bool failed = system(command.c_str()) || rename((own + ".so").c_str(), library.c_str());
        program->log = text_of(own + ".log");
        if (failed) return COMPILATION;
        unlink((own + ".cpp").c_str());
        unlink((own + ".log").c_str());
    }
    program->image = "\x7f" "ELF" + library + std::string(1, '\0');
    return 0;
}

API nvrtcGetCUBINSize(void *program, size_t *size) {
    *size = ((Compiled *)program)->image.size();
    return 0;
}

API nvrtcGetCUBIN(void *handle, char *image) {
    Compiled *program = (Compiled *)handle;
    memcpy(image, program->image.data(), program->image.size());
    return 0;
}

API nvrtcGetProgramLogSize(void *program, size_t *size) {
    *size = ((Compiled *)program)->log.size() + 1;
    return 0;
}

API nvrtcGetProgramLog(void *handle, char *log) {
    strcpy(log, ((Compiled *)handle)->log.c_str());
    return 0;
}
