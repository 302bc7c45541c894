/* An HTTP/1.1 load generator: C connections fetch a path, or the lines of a file of targets, and throw the bytes away
 * in the kernel (MSG_TRUNC). With -V every byte is compared with a file instead. Prints one JSON object.
 *
 *   -a host  -p port  -c connections  -t seconds  -w warm-up seconds  -k keep connections  -m most requests
 *   -P path  -s first source address  -n number of source addresses  -f file of "source path" lines  -V file
 *   -r requests a second: each is due at its time, whether the ones before it were answered or not, and its latency
 *      counts from then (with -k; a target of -f belongs to a connection then)
 */
#include "common.h"

typedef struct {
    int fd;
    uint32_t source;
    const char *path;
    double begun;
    int state; /* 0 closed, 1 connecting, 2 header, 3 body, 4 idle until a request is due */
    int sent, length, have, reused;
    int64_t left, total;
    char out[2048], head[8192];
} connection;

static uint32_t host, first_source;
static int port = 80, keep, sources = 1, epoll, targets;
static int64_t most = -1, started;
static struct { uint32_t source; char *path; } *target;
static const char *path = "/";
static reference ref;
static hist latency;
static uint64_t answers, all_answers, failures, unexpected, wrong, bytes, total_bytes, statuses[6];
static double from, until, rate, opened;
static connection **idle; /* those without a request, in a ring */
static int idle_first, idle_count, idle_room;
static int64_t due;
static char sink[1 << 16];

static void begin(connection *c, int number);

static void start_request(connection *c) {
    c->begun = now();
    c->sent = c->have = 0;
    c->length = snprintf(c->out, sizeof c->out, "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n%s\r\n", c->path,
                         keep ? "" : "Connection: close\r\n");
    c->state = 2;
}

static void send_request(connection *c) {
    ssize_t n = send(c->fd, c->out + c->sent, (size_t)(c->length - c->sent), MSG_NOSIGNAL);
    if (n > 0) c->sent += (int)n;
    struct epoll_event e = {.events = c->sent < c->length ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void choose(connection *c, int number) {
    int64_t turn = started++;
    if (targets && keep) turn = number;
    if (targets) {
        c->source = target[turn % targets].source;
        c->path = target[turn % targets].path;
    } else {
        c->source = first_source ? first_source + (uint32_t)(number % sources) : 0;
        c->path = path;
    }
}

static void open_connection(connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    if (c->source) {
        int one = 1;
        setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
        struct sockaddr_in a = address(c->source, 0);
        if (bind(c->fd, (struct sockaddr *)&a, sizeof a)) die("bind");
    }
    struct sockaddr_in to = address(host, port);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    c->begun = now();
    c->state = 1;
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static void finish(connection *c, int good, int number) {
    double t = now();
    if (good) {
        all_answers++;
        if (t >= from && t <= until) {
            hist_add(&latency, t - c->begun);
            answers++;
        }
    } else if (t <= until)
        failures++;
    if (good && keep && rate > 0) {
        c->state = 4;
        idle[(idle_first + idle_count++) % idle_room] = c;
        return;
    }
    if (good && keep && (most < 0 || started < most)) {
        choose(c, number);
        start_request(c);
        send_request(c);
        return;
    }
    close(c->fd);
    c->state = 0;
    if (t < until && (most < 0 || started < most)) begin(c, number);
}

static void begin(connection *c, int number) {
    choose(c, number);
    open_connection(c);
}

static double send_due(connection *all) { /* what is due; returns the seconds until the next one is */
    for (;;) {
        double at = opened + (double)due / rate, wait = at - now();
        if (wait > 0 || !idle_count) return wait > 0 ? wait : 0.05;
        connection *c = idle[idle_first];
        idle_first = (idle_first + 1) % idle_room;
        idle_count--;
        due++;
        choose(c, (int)(c - all));
        start_request(c);
        c->begun = at;
        send_request(c);
    }
}

static int parse_head(connection *c) { /* bytes of the header, 0 where it is not complete, -1 where it is bad */
    c->head[c->have] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return c->have + 1 < (int)sizeof c->head ? 0 : -1;
    char *field = strcasestr(c->head, "\r\ncontent-length:");
    if (!field || strncmp(c->head, "HTTP/1.", 7)) return -1;
    int status = atoi(c->head + 9);
    statuses[status / 100 < 6 ? status / 100 : 0]++;
    if (status != 200) unexpected++;
    c->total = c->left = strtoll(field + 17, 0, 10);
    return (int)(end + 4 - c->head);
}

static void count(connection *c, const char *data, int64_t n) {
    if (ref.data && data) {
        int64_t at = c->total - c->left;
        if (at + n > (int64_t)ref.size || memcmp(ref.data + at, data, (size_t)n)) wrong++;
    }
    c->left -= n;
    total_bytes += (uint64_t)n;
    double t = now();
    if (t >= from && t <= until) bytes += (uint64_t)n;
}

static void readable(connection *c, int number) {
    for (;;) {
        if (c->state == 2) {
            ssize_t n = recv(c->fd, c->head + c->have, sizeof c->head - 1 - (size_t)c->have, 0);
            if (n < 0 && errno == EAGAIN) return;
            if (n <= 0) { finish(c, 0, number); return; }
            c->have += (int)n;
            int head = parse_head(c);
            if (head < 0) { finish(c, 0, number); return; }
            if (!head) continue;
            c->state = 3;
            if (c->have > head) count(c, c->head + head, c->have - head);
        }
        while (c->left > 0) {
            size_t want = c->left < (1 << 20) ? (size_t)c->left : 1 << 20;
            if (ref.data && want > sizeof sink) want = sizeof sink;
            ssize_t n = ref.data ? recv(c->fd, sink, want, 0) : recv(c->fd, 0, want, MSG_TRUNC);
            if (n < 0 && errno == EAGAIN) return;
            if (n <= 0) { finish(c, 0, number); return; }
            count(c, ref.data ? sink : 0, n);
        }
        if (ref.data && c->total != (int64_t)ref.size) wrong++;
        finish(c, 1, number);
        return;
    }
}

static void read_targets(const char *name) {
    FILE *in = fopen(name, "r");
    char source[64], line[1024];
    int room = 0;
    if (!in) die(name);
    while (fscanf(in, "%63s %1023s", source, line) == 2) {
        if (targets == room) target = realloc(target, (size_t)(room = room * 2 + 64) * sizeof *target);
        target[targets].source = dotted(source);
        target[targets++].path = strdup(line);
    }
    fclose(in);
}

int main(int argc, char **argv) {
    int connections = 64, option;
    double seconds = 5, warm = 0.5;
    while ((option = getopt(argc, argv, "a:p:c:t:w:km:P:s:n:f:V:r:")) != -1) switch (option) {
        case 'a': host = dotted(optarg); break;
        case 'p': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'k': keep = 1; break;
        case 'm': most = atoll(optarg); break;
        case 'P': path = optarg; break;
        case 's': first_source = dotted(optarg); break;
        case 'n': sources = atoi(optarg); break;
        case 'f': read_targets(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'V': ref = map_file(optarg); break;
        default: return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    connection *all = calloc((size_t)connections, sizeof *all);
    idle = calloc((size_t)connections, sizeof *idle);
    idle_room = connections;
    double begun = now(), last = begun;
    opened = begun;
    from = begun + warm;
    until = from + seconds;
    double warm_cpu = -1;
    for (int i = 0; i < connections && (most < 0 || i < most); i++) begin(&all[i], i);
    struct epoll_event events[256];
    while ((last = now()) < until) {
        if (warm_cpu < 0 && last >= from) warm_cpu = own_cpu();
        double pause = rate > 0 ? send_due(all) : 0.05;
        struct timespec wait = {.tv_nsec = (long)((pause < 0.05 ? pause : 0.05) * 1e9)};
        int n = epoll_pwait2(epoll, events, 256, &wait, 0), open = 0;
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            int number = (int)(c - all);
            if (c->state == 4) { /* the server closed it */
                close(c->fd);
                c->state = 0;
                failures++;
            } else if (c->state == 1) {
                int error = 0;
                socklen_t size = sizeof error;
                getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) { finish(c, 0, number); continue; }
                double connected_from = c->begun; /* the connection is part of the request's time */
                start_request(c);
                c->begun = connected_from;
                send_request(c);
            } else if (c->state && c->sent < c->length && events[i].events & EPOLLOUT)
                send_request(c);
            else if (c->state)
                readable(c, number);
        }
        for (int i = 0; i < connections && !open; i++) open |= all[i].state;
        if (!open) break;
    }
    double took = last > from ? last - from : 1e-9, cpu = own_cpu() - (warm_cpu < 0 ? 0 : warm_cpu);
    printf("{\"requests\": %lu, \"all_requests\": %lu, \"failures\": %lu, \"unexpected_status\": %lu, \"wrong\": %lu, \"bytes\": %lu, "
           "\"all_bytes\": %lu, \"seconds\": %.4f, \"cpu\": %.4f, ",
           answers, all_answers, failures, unexpected, wrong, bytes, total_bytes, took, cpu);
    print_hist(&latency);
    printf("}\n");
    return 0;
}
