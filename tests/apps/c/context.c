/* A server of HTTP/1.1, a thread per connection, that publishes what OpenTelemetry's SDKs may publish in memory: a process context, and a
 * thread context while it works on a request. It knows nothing of traces on the wire.
 *
 *   context PORT NEXT [LIBRARY]
 *
 * Each request makes two calls to 127.0.0.1:NEXT (none where NEXT is 0), each below a span of its own, which is printed:
 * `PATH TRACE SPAN`. LIBRARY is loaded by dlopen and has the thread-local variable; else the program was linked with it.
 *   /publish/NAME  publishes a process context with that name, from then on
 *   /stale/...     calls while the thread's context is marked as not valid, or has ids of zeros
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

struct record {
	uint8_t trace[16];
	uint8_t span[8];
	uint8_t valid;
	uint8_t flags;
	uint16_t attributes;
};

struct header {
	char signature[8];
	uint32_t version;
	uint32_t size;
	uint64_t published;
	const void *payload;
};

static int next_port;

#ifdef LOADED
static void (*set)(void *);
#else
void slot_set(void *record);
static void (*set)(void *) = slot_set;
#endif

/* Appends a field of bytes: protobuf's tag, length and content. */
static size_t field(uint8_t *to, int number, const void *bytes, size_t size)
{
	size_t at = 0;
	to[at++] = (uint8_t)(number << 3 | 2);
	to[at++] = (uint8_t)(size & 127) | 128;
	to[at++] = (uint8_t)(size >> 7);
	memcpy(to + at, bytes, size);
	return at + size;
}

static size_t pair(uint8_t *to, const char *name, const char *text)
{
	uint8_t value[300], whole[700];
	size_t value_size = field(value, 1, text, strlen(text));
	size_t size = field(whole, 1, name, strlen(name));
	size += field(whole + size, 2, value, value_size);
	return field(to, 1, whole, size);
}

static struct header *published;

static void publish(const char *name)
{
	static uint8_t payloads[2][4096];
	static int turn;
	uint8_t resource[3000], *payload = payloads[turn ^= 1];
	size_t size = pair(resource, "service.name", name);
	size += pair(resource + size, "service.version", "4.2");
	size += pair(resource + size, "service.instance.id", "one-of-a-kind");
	size += pair(resource + size, "api.key", "hunter2");
	size = field(payload, 1, resource, size);
	/* `attributes` is field 2: the same message behind another tag. */
	size_t more = pair(payload + size, "threadlocal.schema_version", "tlsdesc_v1_dev");
	payload[size] = 2 << 3 | 2;
	size += more;

	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	uint64_t time = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (!published) {
		int file = getenv("ANONYMOUS") ? -1 : memfd_create("OTEL_CTX", MFD_CLOEXEC);
		if (file >= 0 && ftruncate(file, 4096))
			exit(3);
		published = mmap(0, 4096, PROT_READ | PROT_WRITE, file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, file, 0);
		if (published == MAP_FAILED)
			exit(3);
		close(file);
		madvise(published, 4096, MADV_DONTFORK);
		published->version = 2;
		published->size = (uint32_t)size;
		published->payload = payload;
		published->published = time;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		memcpy(published->signature, "OTEL_CTX", 8);
	} else {
		__atomic_store_n(&published->published, 0, __ATOMIC_SEQ_CST);
		published->size = (uint32_t)size;
		published->payload = payload;
		__atomic_store_n(&published->published, time, __ATOMIC_SEQ_CST);
	}
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, published, 4096, "OTEL_CTX");
}

/* Reads up to the end of a head; 0 where the connection is over. */
static int head(int fd, char *into, size_t size)
{
	size_t got = 0;
	while (got + 1 < size) {
		ssize_t more = read(fd, into + got, size - 1 - got);
		if (more <= 0)
			return 0;
		got += (size_t)more;
		into[got] = 0;
		if (strstr(into, "\r\n\r\n"))
			return 1;
	}
	return 0;
}

static void line(const char *path, const struct record *record)
{
	char text[400], *at = text + sprintf(text, "%.200s ", path);
	for (int n = 0; n < 16; n++)
		at += sprintf(at, "%02x", record->trace[n]);
	*at++ = ' ';
	for (int n = 0; n < 8; n++)
		at += sprintf(at, "%02x", record->span[n]);
	*at++ = '\n';
	if (write(1, text, (size_t)(at - text)) < 0)
		exit(3);
}

static void call(int *fd, const char *path, int number)
{
	char text[600];
	if (*fd < 0) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)next_port) };
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(*fd, (struct sockaddr *)&to, sizeof to))
			exit(4);
	}
	int size = sprintf(text, "GET %.200s/%d HTTP/1.1\r\nHost: next\r\n\r\n", path, number);
	if (write(*fd, text, (size_t)size) != size || !head(*fd, text, sizeof text))
		exit(4);
}

static void *serve(void *argument)
{
	int fd = (int)(intptr_t)argument, next = -1;
	char text[4096], path[256];
	while (head(fd, text, sizeof text) && sscanf(text, "%*s %200s", path) == 1) {
		struct record record = { .valid = 1, .flags = 1 };
		int stale = !strncmp(path, "/stale/", 7);
		if (!strncmp(path, "/publish/", 9))
			publish(path + 9);
		if (next_port && getrandom(&record, 24, 0) != 24)
			exit(3);
		for (int number = 0; next_port && number < 2; number++) {
			if (getrandom(record.span, 8, 0) != 8)
				exit(3);
			if (stale && number == 0)
				record.valid = 0;
			if (stale && number == 1) {
				record.valid = 1;
				memset(record.trace, 0, 16);
			}
			set(&record);
			if (!stale) {
				char of[300];
				sprintf(of, "%s/%d", path, number);
				line(of, &record);
			}
			call(&next, path, number);
			set(0);
		}
		const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
		if (write(fd, answer, strlen(answer)) < 0)
			break;
	}
	if (next >= 0)
		close(next);
	close(fd);
	return 0;
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	next_port = atoi(arguments[2]);
#ifdef LOADED
	void *library = count > 3 ? dlopen(arguments[3], RTLD_NOW) : 0;
	if (!library || !(set = (void (*)(void *))dlsym(library, "slot_set")))
		return 2;
#endif
	if (getenv("PUBLISH"))
		publish(getenv("PUBLISH"));
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1])) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 64))
		return 3;
	for (;;) {
		pthread_t thread;
		int fd = accept(listener, 0, 0);
		if (fd < 0 || pthread_create(&thread, 0, serve, (void *)(intptr_t)fd))
			return 3;
		pthread_detach(thread);
	}
}
