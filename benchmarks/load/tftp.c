/* A TFTP load generator (RFC 1350, 2347-2349, 7440): N clients, each its own transfer after transfer from a new port.
 * The bytes stay in the kernel (MSG_TRUNC); with -V each is compared with a file. Prints one JSON object.
 *
 *   -a host  -p port  -c clients  -b blksize  -W windowsize  -t seconds  -w warm-up seconds  -m most transfers
 *   -f name  -s first source address  -n number of source addresses  -r resend after ms  -g give up after s  -V file
 *   -R transfers a second: each begins when it is due, the sooner ones done or not (without: as fast as it goes)
 *   -h seconds: acknowledge the first block only after so long (holds all transfers open, to measure memory)
 */
#include "common.h"

typedef struct {
    int fd, agreed_block, agreed_window, resends, told_gap, done, accepted, waiting;
    uint64_t next; /* the block that is expected, counted without rollover */
    uint64_t acked, size;
    double begun, heard, last_sent, due;
    struct sockaddr_in peer;
} client;

static uint32_t host, first_source;
static int port = 69, block = 1468, window = 1, sources = 1, epoll, resend_ms = 3000, seen_block, seen_window;
static int64_t most = -1, started;
static const char *name = "file";
static reference ref;
static hist latency, since_heard;
static uint64_t transfers, all_transfers, accepted, failures, errors, wrong, bytes, total_bytes, resent, asked_again, repeated, gaps, packets;
static double from, until, give_up = 60, hold, rate;
static int clients = 1;
static char buffer[65536];

static void transmit(client *c, const void *data, size_t size) {
    c->last_sent = now();
    if (sendto(c->fd, data, size, 0, (struct sockaddr *)&c->peer, sizeof c->peer) < 0 && errno != EAGAIN &&
        errno != ECONNREFUSED && errno != EPERM)
        die("sendto");
}

static void request(client *c) {
    char out[512];
    int n = 2;
    out[0] = 0, out[1] = 1;
    n += sprintf(out + n, "%s", name) + 1;
    n += sprintf(out + n, "octet") + 1;
    n += sprintf(out + n, "tsize") + 1;
    n += sprintf(out + n, "0") + 1;
    if (block != 512) {
        n += sprintf(out + n, "blksize") + 1;
        n += sprintf(out + n, "%d", block) + 1;
    }
    if (window > 1) {
        n += sprintf(out + n, "windowsize") + 1;
        n += sprintf(out + n, "%d", window) + 1;
    }
    transmit(c, out, (size_t)n);
}

static void acknowledge(client *c) {
    uint16_t out[2] = {htons(4), htons((uint16_t)(c->next - 1))};
    c->acked = c->next;
    transmit(c, out, 4);
}

static void begin(client *c, int number) {
    double due = c->due;
    started++;
    memset(c, 0, sizeof *c);
    c->due = due;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int room = 1 << 20;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    struct sockaddr_in a = address(first_source ? first_source + (uint32_t)(number % sources) : 0, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&a, sizeof a)) die("bind");
    c->peer = address(host, port);
    c->agreed_block = 512, c->agreed_window = 1;
    c->next = 1;
    c->begun = now();
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    request(c);
}

static void finish(client *c, int good, int number) {
    double t = now();
    all_transfers += (uint64_t)good;
    if (good && t >= from && t <= until) {
        hist_add(&latency, t - c->begun);
        hist_add(&since_heard, t - c->heard);
        transfers++;
    } else if (!good && t <= until)
        failures++;
    if (ref.data && good && c->size != ref.size) wrong++;
    close(c->fd);
    c->done = 1;
    if (t >= until || (most >= 0 && started >= most)) return;
    if (rate) c->waiting = 1, c->due += clients / rate;
    else begin(c, number);
}

static void options(client *c, const char *p, const char *end) {
    while (p < end) {
        const char *value = memchr(p, 0, (size_t)(end - p));
        if (!value || ++value >= end) break;
        if (!strcasecmp(p, "blksize")) c->agreed_block = atoi(value);
        if (!strcasecmp(p, "windowsize")) c->agreed_window = atoi(value);
        p = value + strlen(value) + 1;
    }
    accepted += !c->accepted;
    c->accepted = 1;
    seen_block = c->agreed_block, seen_window = c->agreed_window;
    if (!hold) acknowledge(c);
}

/* One DATA packet; 1 where it was the last one. */
static int data(client *c, uint16_t number, size_t length) {
    int64_t ahead = (int16_t)(number - (uint16_t)c->next);
    if (ahead != 0) {
        if (ahead < 0) repeated++;
        else gaps++;
        /* In lock-step every repeated block is acknowledged again (RFC 1350). In windows we say once where we are:
         * the answer is on its way while the rest of the window still comes in. */
        if (c->agreed_window == 1 ? number == (uint16_t)(c->next - 1) : now() - c->last_sent > 0.02 || !c->told_gap) {
            c->told_gap = 1;
            acknowledge(c);
        }
        return 0;
    }
    if (ref.data && (c->size + length > ref.size || memcmp(ref.data + c->size, buffer + 4, length))) wrong++;
    c->size += length;
    c->next++;
    c->told_gap = c->resends = 0;
    total_bytes += length;
    double t = now();
    if (t >= from && t <= until) bytes += length;
    if (hold && t - c->begun < hold) return 0;
    int last = length < (size_t)c->agreed_block;
    if (last || c->next - c->acked >= (uint64_t)c->agreed_window) acknowledge(c);
    return last;
}

static void readable(client *c, int number) {
    for (;;) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        ssize_t n = recvfrom(c->fd, buffer, ref.data ? sizeof buffer : 128, MSG_TRUNC,
                             (struct sockaddr *)&peer, &size);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 4) { finish(c, 0, number); return; }
        packets++;
        if (!c->heard) c->heard = now();
        c->peer = peer;
        int op = buffer[1];
        if (op == 5) {
            if (!errors++) fprintf(stderr, "error from the server: %.100s\n", buffer + 4);
            finish(c, 0, number);
            return;
        }
        if (op == 6 && c->next == 1) options(c, buffer + 2, buffer + (n < 128 ? n : 128));
        if (op == 3 && data(c, ntohs(*(uint16_t *)(void *)(buffer + 2)), (size_t)n - 4)) {
            finish(c, 1, number);
            return;
        }
    }
}

static void timers(client *all, int clients) {
    double t = now();
    for (int i = 0; i < clients; i++) {
        client *c = &all[i];
        if (c->done || !c->begun || (hold && c->accepted && t - c->begun < hold)) continue;
        if (t - c->begun > give_up) {
            finish(c, 0, i);
        } else if (t - c->last_sent > resend_ms / 1e3) {
            resent++;
            c->told_gap = 0;
            if (c->peer.sin_port == htons((uint16_t)port) && c->next == 1 && !c->acked) asked_again++, request(c);
            else acknowledge(c);
        }
    }
}

int main(int argc, char **argv) {
    int option;
    double seconds = 5, warm = 0.5;
    while ((option = getopt(argc, argv, "a:p:c:b:W:t:w:m:f:s:n:r:R:g:V:h:")) != -1) switch (option) {
        case 'a': host = dotted(optarg); break;
        case 'p': port = atoi(optarg); break;
        case 'c': clients = atoi(optarg); break;
        case 'b': block = atoi(optarg); break;
        case 'W': window = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'm': most = atoll(optarg); break;
        case 'f': name = optarg; break;
        case 's': first_source = dotted(optarg); break;
        case 'n': sources = atoi(optarg); break;
        case 'r': resend_ms = atoi(optarg); break;
        case 'R': rate = atof(optarg); break;
        case 'g': give_up = atof(optarg); break;
        case 'V': ref = map_file(optarg); break;
        case 'h': hold = atof(optarg); break;
        default: return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    client *all = calloc((size_t)clients, sizeof *all);
    double begun = now(), last = begun, looked = begun, warm_cpu = -1;
    from = begun + warm;
    until = from + seconds;
    for (int i = 0; i < clients && (most < 0 || i < most); i++)
        if (rate) all[i].waiting = 1, all[i].due = begun + i / rate;
        else begin(&all[i], i);
    struct epoll_event events[256];
    while ((last = now()) < until) {
        if (warm_cpu < 0 && last >= from) warm_cpu = own_cpu();
        int n = epoll_wait(epoll, events, 256, rate ? 1 : 10), open = 0;
        for (int i = 0; i < n; i++) {
            client *c = events[i].data.ptr;
            if (!c->done) readable(c, (int)(c - all));
        }
        if (last - looked > 0.01) timers(all, clients), looked = last;
        for (int i = 0; i < clients && rate; i++)
            if (all[i].waiting && all[i].due <= last) begin(&all[i], i);
        for (int i = 0; i < clients && !open; i++) open |= all[i].waiting || (all[i].begun && !all[i].done);
        if (!open) break;
    }
    int unfinished = 0;
    for (int i = 0; i < clients; i++) unfinished += all[i].begun && !all[i].done;
    double took = last > from ? last - from : 1e-9, cpu = own_cpu() - (warm_cpu < 0 ? 0 : warm_cpu);
    printf("{\"requests\": %lu, \"all_requests\": %lu, \"failures\": %lu, \"unfinished\": %d, \"accepted\": %lu, \"errors\": %lu, \"wrong\": %lu, \"bytes\": %lu, "
           "\"all_bytes\": %lu, \"packets\": %lu, \"resent\": %lu, \"repeated\": %lu, \"gaps\": %lu, \"blksize\": %d, "
           "\"windowsize\": %d, \"seconds\": %.4f, \"cpu\": %.4f, ",
           transfers, all_transfers, failures, unfinished, accepted, errors, wrong, bytes, total_bytes, packets, resent, repeated, gaps,
           seen_block, seen_window, took, cpu);
    print_hist(&latency);
    /* Without what a client waited because its request was lost: no server knows of it then. */
    printf(", \"asked_again\": %lu, \"heard_p50\": %.6f, \"heard_p99\": %.6f}\n", asked_again,
           hist_at(&since_heard, 0.5), hist_at(&since_heard, 0.99));
    return 0;
}
