/* What the load generators share: a clock, a histogram of latencies, their own CPU time, and errors that end the run. */
#ifndef COMMON_H
#define COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUB 64 /* buckets in each power of two: values are kept to within 1.6 % */
#define BUCKETS (SUB * 40)

typedef struct {
    uint64_t counts[BUCKETS];
    uint64_t total;
    uint64_t most;
} hist;

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static inline int bucket(uint64_t us) {
    if (us < SUB) return (int)us;
    int power = 63 - __builtin_clzll(us);
    int at = (power - 5) * SUB + (int)((us >> (power - 6)) - SUB);
    return at < BUCKETS ? at : BUCKETS - 1;
}

static inline double bucket_value(int at) {
    if (at < SUB) return at;
    int power = at / SUB + 5;
    return (double)(((uint64_t)(at % SUB) + SUB) << (power - 6));
}

static inline void hist_add(hist *h, double seconds) {
    uint64_t us = seconds > 0 ? (uint64_t)(seconds * 1e6) : 0;
    h->counts[bucket(us)]++;
    h->total++;
    if (us > h->most) h->most = us;
}

static inline double hist_at(const hist *h, double share) {
    uint64_t want = (uint64_t)(share * (double)h->total), seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > want) return bucket_value(i) / 1e6;
    }
    return (double)h->most / 1e6;
}

static inline double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline void print_hist(const hist *h) {
    printf("\"p50\": %.6f, \"p90\": %.6f, \"p99\": %.6f, \"max\": %.6f", hist_at(h, 0.5), hist_at(h, 0.9),
           hist_at(h, 0.99), (double)h->most / 1e6);
}

static inline uint32_t dotted(const char *text) {
    struct in_addr a;
    if (!inet_aton(text, &a)) die(text);
    return ntohl(a.s_addr);
}

static inline struct sockaddr_in address(uint32_t host, int port) {
    struct sockaddr_in a;
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(host);
    a.sin_port = htons((uint16_t)port);
    return a;
}

/* The bytes a server has to send, for the pass that verifies each of them. */
typedef struct {
    const char *data;
    size_t size;
} reference;

static inline reference map_file(const char *path) {
    reference r = {0, 0};
    struct stat s;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &s)) die(path);
    r.size = (size_t)s.st_size;
    r.data = mmap(0, r.size ? r.size : 1, PROT_READ, MAP_SHARED, fd, 0);
    if (r.data == MAP_FAILED) die(path);
    close(fd);
    return r;
}
#endif
