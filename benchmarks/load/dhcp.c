/* A DHCP load generator: DISCOVERs of many machines, always the same number of them under way, or at a fixed rate
 * whatever comes back; then the time of an answer counts from when its request was due. Prints one JSON object.
 *
 *   -R requests a second   -i interface  -o outstanding  -t seconds  -w warm-up seconds  -m machines  -n most answers  -T time-out ms
 *   -x (ask as iPXE, not as firmware)  -O file for "mac boot-file" lines of answers
 */
#include "common.h"
#include <net/if.h>
#include <poll.h>
#include <sys/prctl.h>

#define MOST 4096 /* under way at a fixed rate; one that is still open when its place is needed is lost */

typedef struct {
    uint32_t xid;
    int machine;
    double begun;
} slot;

static int sock, machines = 10000, ipxe;
static hist latency;
static uint64_t answers, lost, strays, sent, bytes, all_answers;
static double from, until;
static FILE *out;
static const struct sockaddr_in *to;
static slot *slots;
static uint32_t turn;
static int machine, timeout = 1000;

static int put(unsigned char *at, int code, const void *value, int length) {
    at[0] = (unsigned char)code, at[1] = (unsigned char)length;
    memcpy(at + 2, value, (size_t)length);
    return length + 2;
}

static void mac_of(int machine, unsigned char *mac) {
    unsigned char all[6] = {0x52, 0x54, 0x02, (unsigned char)(machine >> 16), (unsigned char)(machine >> 8), (unsigned char)machine};
    memcpy(mac, all, 6);
}

static void discover(slot *s) {
    unsigned char p[600] = {1, 1, 6, 0};
    uint32_t xid = htonl(s->xid);
    memcpy(p + 4, &xid, 4);
    p[10] = 0x80;
    mac_of(s->machine, p + 28);
    memcpy(p + 236, "\x63\x82\x53\x63", 4);
    int n = 240;
    unsigned char uuid[17] = {0};
    mac_of(s->machine, uuid + 11);
    uuid[1] = 0xbe;
    n += put(p + n, 53, "\x01", 1);
    n += put(p + n, 57, "\x05\xc0", 2);
    n += put(p + n, 55, "\x01\x02\x03\x04\x05\x06\x0c\x0d\x0f\x11\x12\x16\x17\x1c\x28\x29\x2a\x2b\x32\x33\x36\x3a\x3b\x3c\x42\x43\x61\x80\x81\x82\x83\x84\x85\x86\x87", 35);
    n += put(p + n, 97, uuid, 17);
    n += put(p + n, 94, "\x01\x03\x10", 3);
    n += put(p + n, 93, "\x00\x07", 2);
    n += put(p + n, 60, "PXEClient:Arch:00007:UNDI:003016", 32);
    if (ipxe) {
        n += put(p + n, 77, "iPXE", 4);
        n += put(p + n, 175, "\xb1\x05\x01\x1a\xf4\x10\x00\x13\x01\x01\x15\x01\x01", 13);
    }
    p[n++] = 255;
    s->begun = now();
    sent++;
    while (sendto(sock, p, (size_t)n, 0, (const struct sockaddr *)to, sizeof *to) < 0)
        if (errno != EAGAIN && errno != ENOBUFS) die("sendto");
}

static void note(const unsigned char *p, ssize_t n) {
    char file[256] = "";
    memcpy(file, p + 108, 128);
    for (ssize_t at = 240; at + 1 < n && p[at] != 255;) {
        if (!p[at]) { at++; continue; }
        if (p[at] == 67) snprintf(file, sizeof file, "%.*s", p[at + 1], p + at + 2);
        at += 2 + p[at + 1];
    }
    fprintf(out, "%02x:%02x:%02x:%02x:%02x:%02x %s\n", p[28], p[29], p[30], p[31], p[32], p[33], file);
}

/* The next machine asks from this place, or the same one asks again. */
static void ask(slot *s, int again) {
    s->xid = ((turn += MOST) & ~(MOST - 1u)) | (uint32_t)(s - slots);
    if (!again) s->machine = machine++ % machines;
    discover(s);
}

/* The place whose answer this is, or NULL; it is counted. */
static slot *answered(const unsigned char *p, ssize_t n, int places) {
    if (n < 240 || p[0] != 2) return NULL;
    uint32_t xid;
    memcpy(&xid, p + 4, 4);
    xid = ntohl(xid);
    slot *s = &slots[xid % MOST < (uint32_t)places ? xid % MOST : 0];
    if (s->xid != xid) {
        strays++;
        return NULL;
    }
    double t = now();
    all_answers++;
    if (t >= from && t <= until) {
        hist_add(&latency, t - s->begun);
        answers++;
        bytes += (uint64_t)n;
    }
    if (out) note(p, n);
    s->xid = 0;
    return s;
}

/* Ask at a fixed rate: what is late is asked at once, but its time runs from when it was due. */
static void at_rate(double rate, double begun) {
    unsigned char p[2048];
    uint64_t asked = 0;
    for (double t; (t = now()) < until;) {
        for (; t < until - timeout / 1e3 && begun + (double)asked / rate <= t; asked++) {
            slot *s = &slots[asked % MOST];
            lost += s->xid != 0;
            ask(s, 0);
            s->begun = begun + (double)asked / rate;
        }
        ssize_t n;
        while ((n = recv(sock, p, sizeof p, MSG_DONTWAIT)) >= 0) answered(p, n, MOST);
        struct pollfd fd = {sock, POLLIN, 0};
        double pause = begun + (double)asked / rate - now();
        struct timespec nap = {0, pause > 0.001 || pause < 0 ? 1000000 : (long)(pause * 1e9)};
        ppoll(&fd, 1, &nap, NULL);
    }
    for (int i = 0; i < MOST; i++) lost += slots[i].xid != 0;
}

/* Ask again as soon as an answer has come, from the same place. */
static void in_turn(int places, int64_t most) {
    double looked = now();
    unsigned char p[2048];
    for (double t; (t = now()) < until && (most < 0 || (int64_t)all_answers < most);) {
        slot *s = answered(p, recv(sock, p, sizeof p, 0), places);
        if (s) ask(s, 0);
        if (t - looked < 0.01) continue;
        looked = t;
        for (int i = 0; i < places; i++) {
            if (t - slots[i].begun < timeout / 1e3) continue;
            lost++;
            ask(&slots[i], 1);
        }
    }
}

int main(int argc, char **argv) {
    const char *interface = "eth0";
    int outstanding = 32, option;
    int64_t most = -1;
    double seconds = 5, warm = 0.5, rate = 0;
    while ((option = getopt(argc, argv, "i:o:t:w:m:n:T:R:xO:")) != -1) switch (option) {
        case 'i': interface = optarg; break;
        case 'o': outstanding = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'm': machines = atoi(optarg); break;
        case 'n': most = atoll(optarg); break;
        case 'T': timeout = atoi(optarg); break;
        case 'R': rate = atof(optarg); break;
        case 'x': ipxe = 1; break;
        case 'O': if (!(out = fopen(optarg, "w"))) die(optarg); break;
        default: return 2;
    }
    struct sockaddr_in all = address(INADDR_BROADCAST, 67), own = address(0, 68);
    to = &all;
    int one = 1, room = 4 << 20;
    sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(sock, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(sock, SOL_SOCKET, 33 /* SO_RCVBUFFORCE */, &room, sizeof room);
    if (setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1)) die(interface);
    struct timeval patience = {0, 10000};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (bind(sock, (struct sockaddr *)&own, sizeof own)) die("bind");
    slots = calloc(MOST, sizeof *slots);
    double begun = now();
    from = begun + warm;
    until = from + seconds;
    if (rate > 0) {
        prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
        at_rate(rate, begun);
    } else {
        for (int i = 0; i < outstanding && i < MOST; i++) ask(&slots[i], 0);
        in_turn(outstanding < MOST ? outstanding : MOST, most);
    }
    if (out) fclose(out);
    /* At a fixed rate the last second brings answers only. */
    double last = now(), took = last > from ? (last < until ? last : until) - from : 1e-9;
    if (rate > 0) took -= timeout / 1e3;
    double cpu = own_cpu() * seconds / (seconds + warm);
    printf("{\"requests\": %lu, \"all_requests\": %lu, \"sent\": %lu, \"failures\": %lu, \"strays\": %lu, \"bytes\": %lu, \"seconds\": %.4f, \"cpu\": %.4f, ",
           answers, all_answers, sent, lost, strays, bytes, took, cpu);
    print_hist(&latency);
    printf("}\n");
    return 0;
}
