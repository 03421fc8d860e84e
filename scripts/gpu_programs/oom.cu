// Asks the CUDA runtime for more GPU memory than there is: oom MIB [bad]; `bad` writes to an
// address that is nobody's instead.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define CHECK(call)                                                                              \
    do {                                                                                         \
        cudaError_t code = (call);                                                               \
        if (code != cudaSuccess) {                                                               \
            fprintf(stderr, "CUDA error at %s:%d code=%d(%s) \"%s\"\n", __FILE__, __LINE__,      \
                    (int)code, cudaGetErrorName(code), #call);                                   \
            exit(EXIT_FAILURE);                                                                  \
        }                                                                                        \
    } while (0)

__global__ void write_to(int *where) { *where = 1; }

int main(int argc, char **argv)
{
    void *memory;
    if (argc > 2 && !strcmp(argv[2], "bad")) {
        write_to<<<1, 1>>>((int *)0x10);
        CHECK(cudaDeviceSynchronize());
    }
    CHECK(cudaMalloc(&memory, (size_t)atoll(argv[1]) << 20));
    return 0;
}
