/* The file of rates: [ magic, seed ][ bucket of records ][ bucket of records ] ...
 *
 * A record is a source of a protocol under a rate, and the moment at which nothing of that is used any more; then it is
 * free for another. A source has one bucket to be in. A moment further off than the rate can bring about is from before a
 * restart of the machine, and free too. Waits for the lock, but not long; refuses links. Owns nothing past the call. */
#include "access_rates.h"
#include "fd.h"
#include "hash.h"
#include "token_bucket.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC          "usher-rates-001"
#define BUCKETS        1024
#define BUCKET_RECORDS 32
#define LOCK_TRIES     200
#define LOCK_PAUSE_NS  10000000L
/* No rate is slower than one an hour, with a burst that is its own number: an hour at most. */
#define FURTHEST_US (3600000000ULL + TOKEN_BUCKET_SKEW_US)

struct header {
	char magic[16];
	uint64_t seed[2];
};

struct record {
	uint64_t key; /* 0: none */
	uint64_t full_us;
};

struct bucket {
	struct record records[BUCKET_RECORDS];
};

static int rates_lock(int fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

static int rates_read_header(int fd, struct header *ret)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (pread(fd, ret, sizeof(*ret), 0) == sizeof(*ret) && memcmp(ret->magic, MAGIC, sizeof(MAGIC)) == 0)
		return 0;
	*ret = (struct header){ .magic = MAGIC };
	if (getrandom(ret->seed, sizeof(ret->seed), 0) != sizeof(ret->seed) || ftruncate(fd, 0) < 0 ||
		ftruncate(fd, sizeof(*ret) + BUCKETS * sizeof(struct bucket)) < 0)
		return -errno;
	return pwrite(fd, ret, sizeof(*ret), 0) == sizeof(*ret) ? 0 : -EIO;
}

static uint64_t rates_key(
	const struct header *header, const struct access_rate *rate, const char *protocol, uint64_t source)
{
	uint64_t key = hash_mix(source ^ header->seed[0], header->seed[1] | 1);

	key = hash_mix(key ^ hash_name(protocol), header->seed[1] | 1);
	key = hash_mix(key ^ rate->each_us, (header->seed[0] ^ rate->burst) | 1);
	return key ? key : 1;
}

/* The source's record, or a free one made its own, or NULL. */
static struct record *bucket_find(struct bucket *bucket, uint64_t key, uint64_t now_us)
{
	struct record *free_one = NULL;

	for (int i = 0; i < BUCKET_RECORDS; i++) {
		struct record *record = &bucket->records[i];
		if (record->key == key)
			return record;
		if (!free_one && (record->full_us <= now_us || record->full_us > now_us + FURTHEST_US))
			free_one = record;
	}
	if (free_one)
		*free_one = (struct record){ .key = key };
	return free_one;
}

static int rates_take(int fd, const struct access_rate *rate, const char *protocol, uint64_t source, uint64_t now_us)
{
	struct header header = { 0 };
	struct bucket bucket = { 0 };
	int error = rates_read_header(fd, &header);

	if (error < 0)
		return error;
	uint64_t key = rates_key(&header, rate, protocol, source);
	off_t at = (off_t)(sizeof(header) + key % BUCKETS * sizeof(bucket));
	if (pread(fd, &bucket, sizeof(bucket), at) < 0)
		return -errno;
	struct record *record = bucket_find(&bucket, key, now_us);
	if (!record)
		return 0;
	if (!token_bucket_take(record->full_us, rate->burst, rate->each_us, now_us, &record->full_us))
		return 0;
	return pwrite(fd, &bucket, sizeof(bucket), at) == sizeof(bucket) ? 1 : -EIO;
}

int access_rates_take(
	const char *file, const struct access_rate *rate, const char *protocol, uint64_t source, uint64_t now_us)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0)
		return -errno;
	int r = rates_lock(fd);
	if (r == 0)
		r = rates_take(fd, rate, protocol, source, now_us);
	fd_close(fd); /* and the lock with it */
	return r;
}
