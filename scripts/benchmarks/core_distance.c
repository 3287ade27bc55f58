/* How far apart two CPUs are: the time a changed cache line takes from one to the other, in ns, once a second.
 *
 * On a virtual machine it can change while it runs, and with it the speed of two threads that share a call.
 *
 *     cc -O2 -pthread scripts/benchmarks/core_distance.c -o core_distance && ./core_distance [SECONDS]
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ROUND_TRIPS = 100000 };

static _Alignas(128) atomic_int turn;

static void stay_on(int cpu) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus) != 0) {
        fprintf(stderr, "core_distance: CPU %d is not there or not allowed\n", cpu);
        exit(2);
    }
}

static void *answer(void *unused) {
    stay_on(1);
    for (int trip = 0; trip < ROUND_TRIPS; trip++) {
        while (atomic_load(&turn) != 2 * trip + 1) {
        }
        atomic_store(&turn, 2 * trip + 2);
    }
    return unused;
}

static double one_way_ns(void) {
    struct timespec start, end;
    pthread_t other;
    atomic_store(&turn, 0);
    if (pthread_create(&other, NULL, answer, NULL) != 0) {
        fprintf(stderr, "core_distance: no second thread could be started\n");
        exit(2);
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int trip = 0; trip < ROUND_TRIPS; trip++) {
        atomic_store(&turn, 2 * trip + 1);
        while (atomic_load(&turn) != 2 * trip + 2) {
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    pthread_join(other, NULL);
    return ((end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / ROUND_TRIPS / 2;
}

int main(int count, char **words) {
    int seconds = count > 1 ? atoi(words[1]) : 10;
    stay_on(0);
    for (int second = 0; second < seconds; second++) {
        printf("%.0f ns\n", one_way_ns());
        fflush(stdout);
        sleep(1);
    }
    return 0;
}
