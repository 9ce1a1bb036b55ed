/* The state of a master as JSON and back. Refuses another format, and whatever is missing or of another type; believes the rest,
 * which this same process wrote. Owns the arrays that it reads. */
#include "takeover.h"
#include "affinity.h"
#include "backend_table.h"
#include "counters.h"
#include "fd.h"
#include "hex.h"
#include "message.h"
#include "resolved.h"
#include "shared_limits.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Raised where anything that both images use changes its meaning; where it changes its size the rest shows it. */
#define TAKEOVER_FORMAT 26

static void format_write(char *to, size_t size)
{
	char migration[64];

	worker_migration_format(migration, sizeof(migration));
	snprintf(to, size,
		"%d message %zu migration %s limits %zu counters %zu affinity %zu backends %zu live %zu shared %zu "
		"names %zu",
		TAKEOVER_FORMAT, sizeof(struct message), migration, limits_size(), counters_size(), affinity_size(),
		backend_table_size(), live_list_size(), sizeof(struct shared_page), resolved_size(1));
}

/* ---- writing ---- */

static json_t *socket_write(const struct socket_held *one)
{
	char address[2 * sizeof(struct address) + 1];

	hex_write(address, &one->address, sizeof(one->address));
	return json_pack("{s:s, s:b, s:i, s:b, s:I, s:I}", "address", address, "datagrams",
		one->transport == TRANSPORT_DATAGRAM, "fd", one->fd, "handed", (int)one->handed, "device",
		(json_int_t)one->file.device, "inode", (json_int_t)one->file.inode);
}

static json_t *sockets_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_sockets; i++)
		json_array_append_new(list, socket_write(&takeover->sockets[i]));
	return list;
}

static json_t *workers_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_workers; i++) {
		const struct takeover_worker *one = &takeover->workers[i];
		json_array_append_new(list,
			json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "pid", one->pid, "channel", one->channel, "slot",
				(int)one->slot, "generation", (int)one->generation, "number", (int)one->number,
				"workers", (int)one->workers));
	}
	return list;
}

static json_t *children_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_children; i++) {
		const struct takeover_child *one = &takeover->children[i];
		json_array_append_new(list,
			json_pack("{s:i, s:i, s:I, s:I}", "pid", one->pid, "worker", one->worker, "identifier",
				(json_int_t)one->identifier, "number", (json_int_t)one->number));
	}
	return list;
}

static json_t *programs_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_programs; i++) {
		const struct takeover_program *one = &takeover->programs[i];
		json_array_append_new(list,
			json_pack("{s:i, s:s, s:I, s:I}", "pid", one->pid, "service", one->service, "source",
				(json_int_t)one->source, "started_us", (json_int_t)one->started_us));
	}
	return list;
}

static json_t *servers_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_servers; i++) {
		const struct takeover_server *one = &takeover->servers[i];
		json_array_append_new(list,
			json_pack("{s:i, s:I, s:s, s:I, s:I, s:I}", "pid", one->pid, "uid", (json_int_t)one->uid,
				"service", one->service, "digest", (json_int_t)one->digest, "started_us",
				(json_int_t)one->started_us, "stop_after_us", (json_int_t)one->stop_after_us));
	}
	return list;
}

static json_t *names_write(const struct takeover *takeover)
{
	json_t *list = json_array();

	for (size_t i = 0; i < takeover->n_names; i++)
		json_array_append_new(list, json_string(takeover->names[i]));
	return json_pack(
		"{s:i, s:i, s:o}", "table", takeover->names_fd, "channel", takeover->resolver_channel, "list", list);
}

int takeover_write(const struct takeover *takeover)
{
	char format[256];

	format_write(format, sizeof(format));
	json_t *root = json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, "
				 "s:I, s:I, s:s, s:o, "
				 "s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:o}",
		"format", format, "log_lost", (json_int_t)takeover->log_lost, "proof", takeover->proof, "pid_file",
		takeover->pid_file ? takeover->pid_file : "", "since", (json_int_t)takeover->since, "services",
		(json_int_t)takeover->services, "shared", takeover->shared_fd, "limits", takeover->limits_fd,
		"counters", takeover->counters_fd, "affinity", takeover->affinity_fd, "backends",
		takeover->backends_fd, "live", takeover->live_fd, "resolver", takeover->resolver, "control",
		takeover->control_fd, "client", takeover->control_client, "control_path", takeover->control_path,
		"control_device", (json_int_t)takeover->control_file.device, "control_inode",
		(json_int_t)takeover->control_file.inode, "forwarding", takeover->forwarding_table, "sockets",
		sockets_write(takeover), "workers", workers_write(takeover), "children", children_write(takeover),
		"programs", programs_write(takeover), "names", names_write(takeover), "metrics",
		socket_write(&takeover->metrics), "exporter", takeover->exporter, "checker", takeover->checker,
		"servers", servers_write(takeover));
	int fd = root ? memfd_create("usher-state", MFD_CLOEXEC) : -1;
	int error = !root ? -ENOMEM : fd < 0 ? -errno : json_dumpfd(root, fd, JSON_COMPACT) < 0 ? -EIO : 0;

	json_decref(root);
	if (error == 0 && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	fd_close(fd);
	return error < 0 ? error : -EIO;
}

/* ---- reading ---- */

/* One of a list, `at` its place in the array that was made for it. */
typedef int element_read(struct takeover *takeover, size_t at, json_t *element);

static int socket_unpack(struct socket_held *one, json_t *element)
{
	const char *address;
	json_int_t device, inode;
	int datagrams, handed;

	if (json_unpack(element, "{s:s, s:b, s:i, s:b, s:I, s:I}", "address", &address, "datagrams", &datagrams, "fd",
		    &one->fd, "handed", &handed, "device", &device, "inode", &inode) < 0)
		return -EINVAL;
	one->transport = datagrams ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM;
	one->handed = handed;
	one->file = (struct socket_file){ (uint64_t)device, (uint64_t)inode };
	return hex_read(address, &one->address, sizeof(one->address));
}

static int socket_read(struct takeover *takeover, size_t at, json_t *element)
{
	return socket_unpack(&takeover->sockets[at], element);
}

static int worker_read(struct takeover *takeover, size_t at, json_t *element)
{
	struct takeover_worker *one = &takeover->workers[at];
	int slot, generation, number, workers;

	if (json_unpack(element, "{s:i, s:i, s:i, s:i, s:i, s:i}", "pid", &one->pid, "channel", &one->channel, "slot",
		    &slot, "generation", &generation, "number", &number, "workers", &workers) < 0 ||
		slot < 0 || slot >= LIMITS_SLOTS_MAX || generation < 0 || one->pid <= 0 || number < 0 ||
		number >= workers)
		return -EINVAL;
	one->number = (unsigned)number;
	one->workers = (unsigned)workers;
	one->slot = (unsigned)slot;
	one->generation = (unsigned)generation;
	return 0;
}

static int child_read(struct takeover *takeover, size_t at, json_t *element)
{
	struct takeover_child *one = &takeover->children[at];
	json_int_t identifier, number;

	if (json_unpack(element, "{s:i, s:i, s:I, s:I}", "pid", &one->pid, "worker", &one->worker, "identifier",
		    &identifier, "number", &number) < 0 ||
		one->pid <= 0 || one->worker < -1 || one->worker >= (int)takeover->n_workers)
		return -EINVAL;
	one->identifier = (uint32_t)identifier;
	one->number = (uint64_t)number;
	return 0;
}

static int program_read(struct takeover *takeover, size_t at, json_t *element)
{
	struct takeover_program *one = &takeover->programs[at];
	json_int_t source, started_us;
	const char *service;

	if (json_unpack(element, "{s:i, s:s, s:I, s:I}", "pid", &one->pid, "service", &service, "source", &source,
		    "started_us", &started_us) < 0 ||
		one->pid <= 0)
		return -EINVAL;
	snprintf(one->service, sizeof(one->service), "%s", service);
	one->source = (uint64_t)source;
	one->started_us = (uint64_t)started_us;
	return 0;
}

static int server_read(struct takeover *takeover, size_t at, json_t *element)
{
	struct takeover_server *one = &takeover->servers[at];
	json_int_t uid, digest, started_us, stop_after_us;
	const char *service;

	if (json_unpack(element, "{s:i, s:I, s:s, s:I, s:I, s:I}", "pid", &one->pid, "uid", &uid, "service", &service,
		    "digest", &digest, "started_us", &started_us, "stop_after_us", &stop_after_us) < 0 ||
		one->pid <= 0)
		return -EINVAL;
	snprintf(one->service, sizeof(one->service), "%s", service);
	one->uid = (unsigned)uid;
	one->digest = (uint64_t)digest;
	one->started_us = (uint64_t)started_us;
	one->stop_after_us = (uint64_t)stop_after_us;
	return 0;
}

static int name_read(struct takeover *takeover, size_t at, json_t *element)
{
	if (!json_is_string(element))
		return -EINVAL;
	takeover->names[at] = strdup(json_string_value(element));
	return takeover->names[at] ? 0 : -ENOMEM;
}

static int list_read(
	struct takeover *takeover, json_t *list, void *ret_array, size_t size, size_t *ret_n, element_read *read_one)
{
	size_t n = json_array_size(list);
	void *array = calloc(n + 1, size);

	if (!array || !json_is_array(list)) {
		free(array);
		return -EINVAL;
	}
	*(void **)ret_array = array;
	*ret_n = n;
	for (size_t i = 0; i < n; i++)
		if (read_one(takeover, i, json_array_get(list, i)) < 0)
			return -EINVAL;
	return 0;
}

/* The table, who writes it, and what it is about. */
static int names_read(struct takeover *takeover, json_t *names)
{
	json_t *list;

	if (json_unpack(names, "{s:i, s:i, s:o}", "table", &takeover->names_fd, "channel",
		    &takeover->resolver_channel, "list", &list) < 0)
		return -EINVAL;
	return list_read(takeover, list, &takeover->names, sizeof(*takeover->names), &takeover->n_names, name_read);
}

static int takeover_unpack(json_t *root, struct takeover *ret)
{
	json_t *sockets, *workers, *children, *programs, *names, *metrics, *servers;
	json_int_t since, services, device, inode, log_lost;
	const char *path, *proof, *pid_file, *table;

	if (json_unpack(root,
		    "{s:I, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:I, s:I, s:s, s:o, "
		    "s:o, "
		    "s:o, s:o, "
		    "s:o, s:o, s:i, s:i, s:o}",
		    "log_lost", &log_lost, "proof", &proof, "pid_file", &pid_file, "since", &since, "services",
		    &services, "shared", &ret->shared_fd, "limits", &ret->limits_fd, "counters", &ret->counters_fd,
		    "affinity", &ret->affinity_fd, "backends", &ret->backends_fd, "live", &ret->live_fd, "resolver",
		    &ret->resolver, "control", &ret->control_fd, "client", &ret->control_client, "control_path",
		    &path, "control_device", &device, "control_inode", &inode, "forwarding", &table, "sockets",
		    &sockets, "workers", &workers, "children", &children, "programs", &programs, "names", &names,
		    "metrics", &metrics, "exporter", &ret->exporter, "checker", &ret->checker, "servers",
		    &servers) < 0 ||
		socket_unpack(&ret->metrics, metrics) < 0)
		return -EINVAL;
	ret->since = since;
	ret->log_lost = (uint64_t)log_lost;
	snprintf(ret->proof, sizeof(ret->proof), "%s", proof);
	ret->pid_file = *pid_file ? strdup(pid_file) : NULL;
	ret->services = (uint64_t)services;
	ret->control_file = (struct socket_file){ (uint64_t)device, (uint64_t)inode };
	snprintf(ret->forwarding_table, sizeof(ret->forwarding_table), "%s", table);
	snprintf(ret->control_path, sizeof(ret->control_path), "%s", path);
	int error = list_read(ret, sockets, &ret->sockets, sizeof(*ret->sockets), &ret->n_sockets, socket_read);
	if (error == 0)
		error = list_read(ret, workers, &ret->workers, sizeof(*ret->workers), &ret->n_workers, worker_read);
	if (error == 0)
		error = list_read(
			ret, children, &ret->children, sizeof(*ret->children), &ret->n_children, child_read);
	if (error == 0)
		error = list_read(
			ret, programs, &ret->programs, sizeof(*ret->programs), &ret->n_programs, program_read);
	if (error == 0)
		error = list_read(ret, servers, &ret->servers, sizeof(*ret->servers), &ret->n_servers, server_read);
	return error < 0 ? error : names_read(ret, names);
}

int takeover_read(int fd, struct takeover *ret, const char **ret_why)
{
	char format[256];

	*ret = (struct takeover){
		.control_fd = -1, .control_client = -1, .resolver_channel = -1, .names_fd = -1, .metrics.fd = -1
	};
	json_t *root = json_loadfd(fd, 0, NULL);
	const char *theirs = json_string_value(json_object_get(root, "format"));
	format_write(format, sizeof(format));
	*ret_why = "there is no state of a running usher";
	int error = root ? 0 : -EINVAL;
	if (error == 0 && (!theirs || strcmp(theirs, format) != 0)) {
		*ret_why = "the running usher is of a version that this one cannot follow: start it anew";
		error = -EINVAL;
	}
	if (error == 0) {
		*ret_why = "the state of the running usher is broken";
		error = takeover_unpack(root, ret);
	}
	json_decref(root);
	return error;
}

void takeover_free(struct takeover *takeover)
{
	free(takeover->pid_file);
	free(takeover->sockets);
	free(takeover->workers);
	free(takeover->children);
	free(takeover->programs);
	free(takeover->servers);
	for (size_t i = 0; i < takeover->n_names; i++)
		free(takeover->names[i]);
	free(takeover->names);
	*takeover = (struct takeover){ 0 };
}

static void fd_keep(int fd, bool keep)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void takeover_keep_fds(const struct takeover *takeover, bool keep)
{
	fd_keep(takeover->shared_fd, keep);
	fd_keep(takeover->limits_fd, keep);
	fd_keep(takeover->counters_fd, keep);
	fd_keep(takeover->affinity_fd, keep);
	fd_keep(takeover->backends_fd, keep);
	fd_keep(takeover->live_fd, keep);
	fd_keep(takeover->control_fd, keep);
	fd_keep(takeover->control_client, keep);
	fd_keep(takeover->resolver_channel, keep);
	fd_keep(takeover->names_fd, keep);
	fd_keep(takeover->metrics.fd, keep);
	for (size_t i = 0; i < takeover->n_sockets; i++)
		fd_keep(takeover->sockets[i].fd, keep);
	for (size_t i = 0; i < takeover->n_workers; i++)
		fd_keep(takeover->workers[i].channel, keep);
}
