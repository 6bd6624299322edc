// Runs kernels over memory: jobs come on standard input, results go to standard output. Compiled without fast math.
//
// A job is kernel, grid (x, y), bytes of workgroup memory, number of buffers; then each buffer's size in bytes and its contents. The
// answer is the contents of all buffers afterwards. The invocations of a workgroup are coroutines, which take turns at barriers.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef void Kernel(const uint32_t* wid, const uint32_t* grid, uint32_t lane, void* const* buffers);
extern Kernel* const kernels[];
extern const uint32_t workgroup_sizes[];
extern const uint32_t kernel_count;

enum { MAX_BUFFERS = 64, MAX_LANES = 1024, STACK = 1 << 18 };

static ucontext_t turns, lanes[MAX_LANES];
static uint32_t lane, running;
static int done[MAX_LANES];
static char* stacks;

void fast_math_barrier(void) { swapcontext(&lanes[lane], &turns); }

static Kernel* job;
static uint32_t wid[3], grid[3];
static void* buffers[MAX_BUFFERS];

static void run_lane(void) {
    job(wid, grid, lane, buffers);
    done[lane] = 1;
    swapcontext(&lanes[lane], &turns);
}

static void run_workgroup(uint32_t size, int barriers) {
    if (!barriers) {
        for (lane = 0; lane < size; lane++) job(wid, grid, lane, buffers);
        return;
    }
    for (uint32_t l = 0; l < size; l++) {
        done[l] = 0;
        getcontext(&lanes[l]);
        lanes[l].uc_stack.ss_sp = stacks + (size_t)l * STACK;
        lanes[l].uc_stack.ss_size = STACK;
        lanes[l].uc_link = &turns;
        makecontext(&lanes[l], run_lane, 0);
    }
    do {
        running = 0;
        for (lane = 0; lane < size; lane++) {
            if (done[lane]) continue;
            swapcontext(&turns, &lanes[lane]);
            running += !done[lane];
        }
    } while (running);
}

static void want(void* to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) exit(3);
}

int main(int argc, char** argv) {
#if defined(__x86_64__)
    // Subnormal numbers count as 0.
    if (argc > 1 && !strcmp(argv[1], "flush")) __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
    stacks = malloc((size_t)MAX_LANES * STACK);
    uint32_t head[5];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        uint32_t shared = head[3], count = head[4], sizes[MAX_BUFFERS];
        if (head[0] >= kernel_count || count >= MAX_BUFFERS || !stacks) return 4;
        job = kernels[head[0]];
        grid[0] = head[1], grid[1] = head[2], grid[2] = 1;
        for (uint32_t k = 0; k < count; k++) {
            want(&sizes[k], 4);
            buffers[k] = aligned_alloc(64, ((size_t)sizes[k] / 64 + 1) * 64);
            if (!buffers[k]) return 5;
            want(buffers[k], sizes[k]);
        }
        buffers[count] = aligned_alloc(64, ((size_t)shared / 64 + 1) * 64);
        for (wid[1] = 0; wid[1] < grid[1]; wid[1]++)
            for (wid[0] = 0; wid[0] < grid[0]; wid[0]++) run_workgroup(workgroup_sizes[head[0]], shared > 0);
        for (uint32_t k = 0; k < count; k++)
            if (sizes[k] && fwrite(buffers[k], sizes[k], 1, stdout) != 1) return 6;
        fflush(stdout);
        for (uint32_t k = 0; k <= count; k++) free(buffers[k]);
    }
    return 0;
}
