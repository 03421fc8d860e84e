/* Starts the main process of an attempt without copying the supervisor's memory.

   Compiled by the agent where there is a C compiler (native.py), called by shim_start.py, which does
   the same by fork where there is none. vfork(2) lends the child this process's memory until it has
   executed the program: a fork of the interpreter costs some 250 copied pages instead, which is most
   of what a short task costs. The child calls nothing but async-signal-safe functions. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP_NONE, STEP_PREPARE, STEP_CHDIR, STEP_EXEC, STEP_USER };

struct order {
    const char *path;
    char *const *argv;
    char *const *envp;
    const char *cwd;
    /* The file cgroup.procs to join, or NULL. */
    const char *joins;
    int out;
    int err;
    /* As whom it runs, or no change. */
    int has_user;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    int n_groups;
    /* Answers: what failed and with which errno. Shared with the child until it has executed. */
    volatile int failed_step;
    volatile int failed_errno;
};

static void fail(struct order *order, int step) {
    order->failed_errno = errno;
    order->failed_step = step;
    _exit(127);
}

/* The kernel's own calls: those of the library would speak to threads of the memory that is lent. */
static void become_user(struct order *order, pid_t shim) {
    if (syscall(SYS_setgroups, order->n_groups, order->groups) < 0) fail(order, STEP_USER);
    if (syscall(SYS_setresgid, order->gid, order->gid, order->gid) < 0) fail(order, STEP_USER);
    if (syscall(SYS_setresuid, order->uid, order->uid, order->uid) < 0) fail(order, STEP_USER);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(order, STEP_USER);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* a change of the user has cleared it */
    if (getppid() != shim) _exit(127);
}

static void become(struct order *order, pid_t shim) {
    sigset_t none;
    if (setsid() < 0) fail(order, STEP_PREPARE);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != shim) _exit(127); /* it died before its death could be signalled */
    if (order->joins != NULL) {
        int fd = open(order->joins, O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            /* Where it cannot be joined, the tree is found by its parents and its cookie. */
            if (write(fd, "0", 1) < 0) errno = 0;
            close(fd);
        }
    }
    if (dup2(order->out, 1) < 0 || dup2(order->err, 2) < 0) fail(order, STEP_PREPARE);
    if (order->has_user) become_user(order, shim);
    if (chdir(order->cwd) < 0) fail(order, STEP_CHDIR);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(order->path, order->argv, order->envp);
    fail(order, STEP_EXEC);
}

/* The pid, or -1: then failed_step and failed_errno say why and nothing is left to wait for. */
int fluxhive_start(struct order *order) {
    sigset_t all, before;
    pid_t shim = getpid();
    pid_t pid;
    order->failed_step = STEP_NONE;
    order->failed_errno = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pid = vfork();
    if (pid == 0) become(order, shim);
    if (pid < 0) {
        order->failed_step = STEP_PREPARE;
        order->failed_errno = errno;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && order->failed_step != STEP_NONE) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
        pid = -1;
    }
    return pid;
}
