// The only process of the emulated machine besides the program that it was booted for: runs the program on the second
// serial port, says on the first one how it ended, and switches the machine off.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void end(const char *how, int number) {
    FILE *console = fopen("/dev/ttyS0", "w");
    if (console) {
        fprintf(console, "\nemulated program: %s %d.\n", how, number);
        fflush(console);
        tcdrain(fileno(console));
    }
    reboot(RB_POWER_OFF);
    for (;;) pause();
}

int main(void) {
    mount("dev", "/dev", "devtmpfs", 0, 0);
    mount("proc", "/proc", "proc", 0, 0);
    mount("sys", "/sys", "sysfs", 0, 0);
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bf16")) end("no AVX-512", 0);

    // The command: the folder, the number of arguments, the arguments, then the environment, each ended by a zero byte.
    static char text[1 << 16];
    static char *words[4096];
    int file = open("/command", O_RDONLY), count = 0;
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (length <= 0) end("no command", 0);
    for (char *at = text; at < text + length && count < 4094; at += strlen(at) + 1) words[count++] = at;
    int arguments = atoi(words[1]);
    char **environment = words + 2 + arguments;
    char **program = calloc(arguments + 1, sizeof *program);
    memcpy(program, words + 2, arguments * sizeof *program);

    pid_t child = fork();
    if (child == 0) {
        int port = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
        struct termios mode;
        tcgetattr(port, &mode);
        cfmakeraw(&mode);
        mode.c_cflag |= CLOCAL;
        cfsetspeed(&mode, B115200);
        tcsetattr(port, TCSANOW, &mode);
        int nothing = open("/dev/null", O_RDONLY);
        dup2(nothing, 0);
        dup2(port, 1);
        dup2(port, 2);
        if (chdir(words[0])) perror(words[0]);
        execve(program[0], program, environment);
        perror(program[0]);
        tcdrain(1);
        _exit(127);
    }
    int port = open("/dev/ttyS1", O_WRONLY | O_NOCTTY);  // kept open, or the last bytes go when the program ends
    int status = 0;
    while (waitpid(child, &status, 0) != child) {}
    tcdrain(port);
    if (WIFSIGNALED(status)) end("signal", WTERMSIG(status));
    end("status", WEXITSTATUS(status));
}
