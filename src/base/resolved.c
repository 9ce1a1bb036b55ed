/* The shared table of resolved names. One process writes, any number read, none waits for another and none is
 * trusted to stay alive: a resolver that is killed in the middle of a write leaves the answer before it in
 * place.
 *
 *     slot:   version   answers[0]   answers[1]
 *
 * The answer in force is answers[version & 1]. The writer fills the other one and then counts the version up.
 * A reader takes the version, copies, and takes the version again: where it has changed, the copy may be torn
 * and is made anew.
 *
 * Every word is an atomic, so that there is no data race to argue about. Why the second look at the version
 * is enough, without fences (which ThreadSanitizer does not understand; on x86 all of this compiles to plain
 * moves): the words of version v+2 are stored with release after the version became v+1. A reader that was
 * copying version v and loads one of them with acquire therefore sees version v+1 or later when it looks
 * again, and does not keep the copy. */
#include "resolved.h"
#include "fd.h"
#include "timer.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS 64 /* a writer writes a few times a second; this is for one that has gone mad */

struct shared_address {
	_Atomic uint32_t family; /* AF_INET or AF_INET6, and the port << 16 */
	_Atomic uint32_t scope;
	_Atomic uint32_t bytes[4]; /* in network order */
	_Atomic uint32_t share;    /* the weight, and the rank << 16 */
};

struct answer {
	_Atomic uint32_t count; /* 0 before the first answer, and of one that was withdrawn */
	struct shared_address addresses[RESOLVED_ADDRESSES_MAX];
};

struct slot {
	_Alignas(64) _Atomic uint32_t version;
	_Atomic uint32_t ended, failing;
	_Atomic uint32_t answered_ms; /* of the monotonic clock */
	struct answer answers[2];
};

struct resolved {
	struct slot *slots;
	size_t n_names;
	size_t size;  /* of the mapping */
	int fd;       /* -1 once a worker has given it up */
	bool is_kept; /* from children */
	char **names;
};

/* ---- the mapping ---- */

size_t resolved_size(size_t n_names)
{
	return (n_names ? n_names : 1) * sizeof(struct slot); /* a mapping of no bytes does not exist */
}

static uint32_t now_ms(void)
{
	return (uint32_t)(clock_monotonic_us() / 1000);
}

void resolved_free(struct resolved *resolved)
{
	if (!resolved)
		return;
	if (resolved->slots)
		munmap(resolved->slots, resolved->size);
	for (size_t i = 0; resolved->names && i < resolved->n_names; i++)
		free(resolved->names[i]);
	free(resolved->names);
	fd_close(resolved->fd);
	free(resolved);
}

/* Without a mapping. */
static struct resolved *resolved_of(const char *const *names, size_t n_names)
{
	struct resolved *resolved = calloc(1, sizeof(*resolved));

	if (!resolved)
		return NULL;
	*resolved = (struct resolved){ .n_names = n_names, .size = resolved_size(n_names), .fd = -1 };
	resolved->names = calloc(n_names + 1, sizeof(*resolved->names));
	bool whole = resolved->names != NULL;
	for (size_t i = 0; whole && i < n_names; i++)
		whole = (resolved->names[i] = strdup(names[i])) != NULL;
	if (whole)
		return resolved;
	resolved_free(resolved);
	return NULL;
}

static int resolved_map(struct resolved *resolved, int protection)
{
	void *pages = mmap(NULL, resolved->size, protection, MAP_SHARED, resolved->fd, 0);

	if (pages == MAP_FAILED)
		return -errno;
	resolved->slots = pages;
	return 0;
}

int resolved_new(struct resolved **ret, const char *const *names, size_t n_names)
{
	struct resolved *resolved = resolved_of(names, n_names);

	if (!resolved)
		return -ENOMEM;
	resolved->fd = memfd_create("usher: resolved names", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error = resolved->fd < 0 || ftruncate(resolved->fd, (off_t)resolved->size) < 0 ? -errno : 0;
	if (error == 0)
		error = resolved_map(resolved, PROT_READ | PROT_WRITE);
	/* From here on this mapping, and what is forked from it, is the only way to write: a new one,
	 * write(2) or a file that shrinks below a reader (SIGBUS) are refused by the kernel, whoever gets
	 * hold of the descriptor. */
	if (error == 0 &&
		fcntl(resolved->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		error = -errno;
	if (error < 0)
		resolved_free(resolved);
	else
		*ret = resolved;
	return error;
}

int resolved_adopt(struct resolved **ret, int fd, const char *const *names, size_t n_names)
{
	struct resolved *resolved = resolved_of(names, n_names);
	struct stat status;

	if (!resolved)
		return -ENOMEM;
	resolved->fd = fd;
	int error = fstat(fd, &status) < 0 ? -errno : 0;
	if (error == 0 && (size_t)status.st_size != resolved->size)
		error = -EPROTO;
	if (error == 0)
		error = resolved_map(resolved, PROT_READ);
	if (error == 0) {
		*ret = resolved;
		return 0;
	}
	resolved->fd = -1;
	resolved_free(resolved);
	return error;
}

int resolved_fd(const struct resolved *resolved)
{
	return resolved->fd;
}

size_t resolved_count(const struct resolved *resolved)
{
	return resolved->n_names;
}

const char *resolved_name(const struct resolved *resolved, size_t name)
{
	assert(name < resolved->n_names);
	return resolved->names[name];
}

int resolved_read_only(struct resolved *resolved)
{
	struct slot *writable = resolved->is_kept ? NULL : resolved->slots;

	/* No writable page stays behind. The seal makes the kernel refuse an mprotect() that would turn these writable again. */
	int error = resolved_map(resolved, PROT_READ);
	if (error < 0)
		return error;
	if (writable)
		munmap(writable, resolved->size);
	resolved->fd = fd_close(resolved->fd);
	return 0;
}

int resolved_keep(struct resolved *resolved, bool keep)
{
	if (madvise(resolved->slots, resolved->size, keep ? MADV_DONTFORK : MADV_DOFORK) < 0)
		return -errno;
	resolved->is_kept = keep;
	return 0;
}

/* ---- words ---- */

static void put_word(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static uint32_t get_word(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void put_address(struct shared_address *to, const struct resolved_address *from)
{
	const struct address *address = &from->address;
	bool v6 = address->sa.sa_family == AF_INET6;
	uint32_t bytes[4] = { 0 };

	if (v6)
		memcpy(bytes, &address->in6.sin6_addr, 16);
	else
		memcpy(bytes, &address->in.sin_addr, 4);
	put_word(&to->family, address->sa.sa_family | (uint32_t)address_port(address) << 16);
	put_word(&to->scope, v6 ? address->in6.sin6_scope_id : 0);
	for (int i = 0; i < 4; i++)
		put_word(&to->bytes[i], bytes[i]);
	put_word(&to->share, from->weight | (uint32_t)from->rank << 16);
}

static void slot_write(struct slot *slot, const struct resolved_address *addresses, size_t count, bool may_be_empty)
{
	uint32_t next = atomic_load_explicit(&slot->version, memory_order_relaxed) + 1;
	struct answer *answer = &slot->answers[next & 1];
	uint32_t kept = 0;

	for (size_t i = 0; i < count && kept < RESOLVED_ADDRESSES_MAX; i++)
		if (address_is_ip(&addresses[i].address))
			put_address(&answer->addresses[kept++], &addresses[i]);
	if (kept == 0 && !may_be_empty)
		return;
	put_word(&answer->count, kept);
	put_word(&slot->answered_ms, now_ms());
	put_word(&slot->version, next);
}

void resolved_write(struct resolved *resolved, size_t name, const struct resolved_address *addresses, size_t count)
{
	assert(name < resolved->n_names);

	slot_write(&resolved->slots[name], addresses, count, false);
}

void resolved_withdraw(struct resolved *resolved, size_t name)
{
	assert(name < resolved->n_names);

	slot_write(&resolved->slots[name], NULL, 0, true);
}

void resolved_end(struct resolved *resolved, size_t name, bool failing)
{
	assert(name < resolved->n_names);

	struct slot *slot = &resolved->slots[name];

	put_word(&slot->failing, failing);
	put_word(&slot->ended, get_word(&slot->ended) + 1);
}

/* False for what is no address: the writer reads what strangers send, and is not believed blindly. */
static bool get_address(const struct shared_address *from, uint16_t port, struct resolved_address *ret)
{
	uint32_t head = get_word(&from->family), scope = get_word(&from->scope), share, bytes[4];
	uint32_t family = head & UINT16_MAX;
	struct address *address = &ret->address;

	for (int i = 0; i < 4; i++)
		bytes[i] = get_word(&from->bytes[i]);
	share = get_word(&from->share);
	if (family != AF_INET && family != AF_INET6)
		return false;
	*ret = (struct resolved_address){ .weight = (uint16_t)share, .rank = (uint8_t)(share >> 16) };
	if (family == AF_INET6) {
		address->len = sizeof(address->in6);
		address->in6.sin6_family = AF_INET6;
		address->in6.sin6_scope_id = scope;
		memcpy(&address->in6.sin6_addr, bytes, 16);
	} else {
		address->len = sizeof(address->in);
		address->in.sin_family = AF_INET;
		memcpy(&address->in.sin_addr, bytes, 4);
	}
	address_set_port(address, head >> 16 ? (uint16_t)(head >> 16) : port);
	return true;
}

size_t resolved_read(const struct resolved *resolved, size_t name, uint16_t port,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX])
{
	assert(name < resolved->n_names);

	const struct slot *slot = &resolved->slots[name];

	for (int i = 0; i < ATTEMPTS; i++) {
		uint32_t version = get_word(&slot->version);
		const struct answer *answer = &slot->answers[version & 1];
		uint32_t count = get_word(&answer->count);
		size_t n = 0;
		for (size_t k = 0; k < count && k < RESOLVED_ADDRESSES_MAX; k++)
			n += get_address(&answer->addresses[k], port, &ret[n]);
		if (get_word(&slot->version) == version)
			return n;
	}
	return 0;
}

void resolved_look(const struct resolved *resolved, size_t name, struct resolved_state *ret)
{
	assert(name < resolved->n_names);

	const struct slot *slot = &resolved->slots[name];

	*ret = (struct resolved_state){
		.ended = get_word(&slot->ended),
		.failing = get_word(&slot->failing) != 0,
		.version = get_word(&slot->version),
		.age_ms = now_ms() - get_word(&slot->answered_ms),
	};
}

/* ---- from one table to the next ---- */

static int compare_names(const void *first, const void *second)
{
	return strcmp(**(char **const *)first, **(char **const *)second);
}

int resolved_inherit(struct resolved *to, const struct resolved *from)
{
	char ***sorted = calloc(from->n_names + 1, sizeof(*sorted));
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_names; i++)
		sorted[i] = &from->names[i];
	qsort(sorted, from->n_names, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < to->n_names; i++) {
		char **wanted = &to->names[i];
		char ***found = bsearch(&wanted, sorted, from->n_names, sizeof(*sorted), compare_names);
		size_t at = found ? (size_t)(*found - from->names) : 0;
		size_t n = found ? resolved_read(from, at, 0, addresses) : 0;
		if (n == 0)
			continue;
		resolved_write(to, i, addresses, n);
		put_word(&to->slots[i].answered_ms, get_word(&from->slots[at].answered_ms));
	}
	free(sorted);
	return 0;
}
