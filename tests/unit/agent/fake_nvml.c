/* A libnvidia-ml.so.1 for the tests of the NVML reader. What it answers stands in the file that
 * FAKE_NVML names, read again at each call, so that a test changes it under a living reader:
 *
 *   init CODE
 *   gpu UUID TOTAL_BYTES USED_BYTES STATE      STATE: ok lost gone slow unknown bare mig
 *   process INDEX PID BYTES                    BYTES -1: not available
 *   xid INDEX NUMBER                           told once, in the order of the lines
 *   memory INDEX FAILURE PENDING ERRORS        rows not remapped, pages to retire, ECC errors
 *   brakes INDEX MILLIWATTS REASONS REPAIRED   power limit, bits of what slows it, repaired ECC errors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, TIMEOUT = 10, LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15, UNKNOWN = 999 };
enum { MOST = 16 };

struct gpu { char uuid[80]; unsigned long long total, used; char state[16]; };
struct process { int gpu; unsigned pid; long long bytes; };
struct xid { int gpu; unsigned long long number; };
struct errors { unsigned failure, pending; unsigned long long count; };
struct brakes { unsigned milliwatts; unsigned long long reasons, repaired; };

static struct gpu gpus[MOST];
static struct process processes[MOST];
static struct xid xids[MOST];
static struct errors errors[MOST];
static struct brakes brakes[MOST];
static int n_gpus, n_processes, n_xids, n_told, registered[MOST], init_code;

static void load(void)
{
    char line[256], word[16];
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    n_gpus = n_processes = n_xids = init_code = 0;
    memset(errors, 0, sizeof errors);
    for (int i = 0; i < MOST; i++) brakes[i] = (struct brakes){700000, 0, 0};
    if (!file) { init_code = LIBRARY_NOT_FOUND; return; }
    while (fgets(line, sizeof line, file)) {
        struct gpu *g = &gpus[n_gpus];
        struct process *p = &processes[n_processes];
        if (sscanf(line, "%15s", word) != 1) continue;
        if (!strcmp(word, "init")) sscanf(line, "%*s %d", &init_code);
        if (!strcmp(word, "gpu") && n_gpus < MOST &&
            sscanf(line, "%*s %79s %llu %llu %15s", g->uuid, &g->total, &g->used, g->state) == 4)
            n_gpus++;
        if (!strcmp(word, "process") && n_processes < MOST &&
            sscanf(line, "%*s %d %u %lld", &p->gpu, &p->pid, &p->bytes) == 3)
            n_processes++;
        if (!strcmp(word, "xid") && n_xids < MOST &&
            sscanf(line, "%*s %d %llu", &xids[n_xids].gpu, &xids[n_xids].number) == 2)
            n_xids++;
        int at; struct errors e;
        if (!strcmp(word, "memory") &&
            sscanf(line, "%*s %d %u %u %llu", &at, &e.failure, &e.pending, &e.count) == 4 &&
            at >= 0 && at < MOST)
            errors[at] = e;
        struct brakes b;
        if (!strcmp(word, "brakes") &&
            sscanf(line, "%*s %d %u %llu %llu", &at, &b.milliwatts, &b.reasons, &b.repaired) == 4 &&
            at >= 0 && at < MOST)
            brakes[at] = b;
    }
    fclose(file);
}

static int is(long handle, const char *state) { return !strcmp(gpus[handle - 1].state, state); }

static int status(long handle)
{
    load();
    if (is(handle, "slow")) sleep(60);
    return is(handle, "lost") ? GPU_IS_LOST : OK;
}

int nvmlInit_v2(void) { load(); return init_code; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned n) { strncpy(text, "580.159", n); return OK; }
int nvmlDeviceGetCount_v2(unsigned *n) { load(); *n = n_gpus; return init_code; }

int nvmlDeviceGetHandleByIndex_v2(unsigned i, long *handle)
{
    load();
    *handle = i + 1;
    return is(*handle, "gone") ? GPU_IS_LOST : OK;
}

int nvmlDeviceGetUUID(long handle, char *text, unsigned n)
{
    load();
    strncpy(text, gpus[handle - 1].uuid, n);
    return OK;
}

int nvmlDeviceGetName(long handle, char *text, unsigned n)
{
    (void)handle;
    strncpy(text, "NVIDIA H100 80GB HBM3", n);
    return OK;
}

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(long handle, struct memory *memory)
{
    int code = status(handle);
    if (is(handle, "unknown")) return UNKNOWN;
    memory->total = gpus[handle - 1].total;
    memory->used = gpus[handle - 1].used;
    memory->free = memory->total - memory->used;
    return code;
}

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(long handle, struct memory_v2 *memory)
{
    int code = status(handle);
    if (is(handle, "unknown")) return UNKNOWN;
    if (is(handle, "old")) return NOT_SUPPORTED;
    memory->total = gpus[handle - 1].total;
    memory->reserved = 614ULL << 20;
    memory->used = gpus[handle - 1].used;
    memory->free = memory->total - memory->used - memory->reserved;
    return code;
}

struct rates { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(long handle, struct rates *rates)
{
    rates->gpu = 94;
    rates->memory = 30;
    return is(handle, "bare") ? NOT_SUPPORTED : status(handle);
}

int nvmlDeviceGetTemperature(long handle, int sensor, unsigned *celsius)
{
    (void)sensor;
    *celsius = 61;
    return is(handle, "bare") ? NOT_SUPPORTED : status(handle);
}

int nvmlDeviceGetPowerUsage(long handle, unsigned *milliwatts)
{
    *milliwatts = 412600;
    return is(handle, "bare") ? NOT_SUPPORTED : status(handle);
}

int nvmlDeviceGetEnforcedPowerLimit(long handle, unsigned *milliwatts)
{
    *milliwatts = brakes[handle - 1].milliwatts;
    return is(handle, "bare") ? NOT_SUPPORTED : status(handle);
}

/* As drivers before 535 call it; the newer name is missing here. */
int nvmlDeviceGetCurrentClocksThrottleReasons(long handle, unsigned long long *reasons)
{
    int code = status(handle);
    *reasons = brakes[handle - 1].reasons;
    return is(handle, "bare") ? NOT_SUPPORTED : code;
}

int nvmlDeviceGetMigMode(long handle, unsigned *now, unsigned *later)
{
    *now = *later = is(handle, "mig");
    return is(handle, "bare") ? NOT_SUPPORTED : status(handle);
}

struct listed { unsigned pid; unsigned long long bytes; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(long handle, unsigned *n, struct listed *list)
{
    unsigned room = *n, found = 0;
    int code = status(handle);
    if (is(handle, "bare")) return NOT_SUPPORTED;
    for (int i = 0; i < n_processes; i++) {
        if (processes[i].gpu != handle - 1) continue;
        if (found < room) {
            list[found].pid = processes[i].pid;
            list[found].bytes = (unsigned long long)processes[i].bytes;
        }
        found++;
    }
    *n = found;
    return found > room ? 7 /* insufficient size */ : code;
}

int nvmlEventSetCreate(void **set) { *set = registered; return OK; }
int nvmlEventSetFree(void *set) { (void)set; memset(registered, 0, sizeof registered); return OK; }

int nvmlDeviceRegisterEvents(long handle, unsigned long long types, void *set)
{
    (void)set;
    if (is(handle, "bare")) return NOT_SUPPORTED;
    registered[handle - 1] = types == 8 /* critical Xid */;
    return OK;
}

struct event { long device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
int nvmlEventSetWait_v2(void *set, struct event *event, unsigned timeout_ms)
{
    (void)set; (void)timeout_ms;
    load();
    while (n_told < n_xids) {
        struct xid *x = &xids[n_told++];
        if (!registered[x->gpu]) continue;
        memset(event, 0, sizeof *event);
        event->device = x->gpu + 1;
        event->type = 8;
        event->data = x->number;
        return OK;
    }
    return TIMEOUT;
}

int nvmlDeviceGetRemappedRows(long handle, unsigned *good, unsigned *bad, unsigned *pending,
                              unsigned *failure)
{
    *good = *bad = *pending = 0;
    *failure = errors[handle - 1].failure;
    return is(handle, "bare") ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetRetiredPagesPendingStatus(long handle, unsigned *pending)
{
    *pending = errors[handle - 1].pending;
    return is(handle, "bare") ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetTotalEccErrors(long handle, int type, int counter, unsigned long long *count)
{
    (void)counter;
    *count = type == 0 /* corrected */ ? brakes[handle - 1].repaired : errors[handle - 1].count;
    return is(handle, "bare") ? NOT_SUPPORTED : OK;
}

const char *nvmlErrorString(int code)
{
    switch (code) {
    case GPU_IS_LOST: return "GPU is lost";
    case LIBRARY_NOT_FOUND: return "NVML Shared Library Not Found";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}
