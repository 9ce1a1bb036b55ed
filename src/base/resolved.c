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
#include "name_cache.h"
#include "shared_address.h"
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

struct resolved_word {
	struct shared_address address;
	_Atomic uint32_t share; /* the weight, and the rank << 16 */
};

struct answer {
	_Atomic uint32_t count; /* 0 before the first answer, and of one that was withdrawn */
	struct resolved_word addresses[RESOLVED_ADDRESSES_MAX];
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
	struct name_cache *cache; /* behind them */
	size_t size;              /* of the mapping */
	int fd;                   /* -1 once a worker has given it up */
	bool is_kept;             /* from children */
	char **names;
};

/* ---- the mapping ---- */

size_t resolved_size(size_t n_names)
{
	return n_names * sizeof(struct slot) + name_cache_size();
}

const struct name_cache *resolved_cache(const struct resolved *resolved)
{
	return resolved->cache;
}

struct name_cache *resolved_cache_write(struct resolved *resolved)
{
	return resolved->cache;
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
	resolved->cache = (struct name_cache *)(resolved->slots + resolved->n_names);
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
	if (error == 0)
		error = name_cache_init(resolved->cache);
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

static void word_write(struct resolved_word *to, const struct resolved_address *from)
{
	shared_address_put(&to->address, &from->address);
	word_put(&to->share, from->weight | (uint32_t)from->rank << 16);
}

static bool word_read(const struct resolved_word *from, uint16_t port, struct resolved_address *ret)
{
	uint32_t share = word_get(&from->share);

	*ret = (struct resolved_address){ .weight = (uint16_t)share, .rank = (uint8_t)(share >> 16) };
	if (!shared_address_get(&from->address, &ret->address))
		return false;
	if (address_port(&ret->address) == 0)
		address_set_port(&ret->address, port);
	return true;
}

static void slot_write(struct slot *slot, const struct resolved_address *addresses, size_t count, bool may_be_empty)
{
	uint32_t next = atomic_load_explicit(&slot->version, memory_order_relaxed) + 1;
	struct answer *answer = &slot->answers[next & 1];
	uint32_t kept = 0;

	for (size_t i = 0; i < count && kept < RESOLVED_ADDRESSES_MAX; i++)
		if (address_is_ip(&addresses[i].address))
			word_write(&answer->addresses[kept++], &addresses[i]);
	if (kept == 0 && !may_be_empty)
		return;
	word_put(&answer->count, kept);
	word_put(&slot->answered_ms, now_ms());
	word_put(&slot->version, next);
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

	word_put(&slot->failing, failing);
	word_put(&slot->ended, word_get(&slot->ended) + 1);
}

size_t resolved_read(const struct resolved *resolved, size_t name, uint16_t port,
	struct resolved_address ret[RESOLVED_ADDRESSES_MAX])
{
	assert(name < resolved->n_names);

	const struct slot *slot = &resolved->slots[name];

	for (int i = 0; i < ATTEMPTS; i++) {
		uint32_t version = word_get(&slot->version);
		const struct answer *answer = &slot->answers[version & 1];
		uint32_t count = word_get(&answer->count);
		size_t n = 0;
		for (size_t k = 0; k < count && k < RESOLVED_ADDRESSES_MAX; k++)
			n += word_read(&answer->addresses[k], port, &ret[n]);
		if (word_get(&slot->version) == version)
			return n;
	}
	return 0;
}

void resolved_look(const struct resolved *resolved, size_t name, struct resolved_state *ret)
{
	assert(name < resolved->n_names);

	const struct slot *slot = &resolved->slots[name];

	*ret = (struct resolved_state){
		.ended = word_get(&slot->ended),
		.failing = word_get(&slot->failing) != 0,
		.version = word_get(&slot->version),
		.age_ms = now_ms() - word_get(&slot->answered_ms),
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
		word_put(&to->slots[i].answered_ms, word_get(&from->slots[at].answered_ms));
	}
	free(sorted);
	return 0;
}
