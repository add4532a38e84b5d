/* The accelerator device as ggml's backend interface describes one: a CPU-side device whose two
 * decisions, what it supports and how it computes, are functions of the caller (accel.rs).
 *
 * Written in C because the structs belong to a header that is private to ggml: here the compiler
 * checks them. Everything is static, so the device lives as long as the process, as ggml expects. */

#include <stdlib.h>

#include "ggml-backend-impl.h"

typedef bool (*supports_op_fn)(const struct ggml_tensor * op);
typedef enum ggml_status (*compute_fn)(struct ggml_cgraph * graph);

static supports_op_fn supports_op;
static compute_fn compute;

static const char NAME[] = "secondnature";
static ggml_guid GUID = { 's', 'e', 'c', 'o', 'n', 'd', 'n', 'a', 't', 'u', 'r', 'e', '-', 'g', 'e', 'm' };

static const char * backend_name(ggml_backend_t backend) {
    (void) backend;
    return NAME;
}

static void backend_free(ggml_backend_t backend) {
    free(backend);
}

static enum ggml_status backend_compute(ggml_backend_t backend, struct ggml_cgraph * graph) {
    (void) backend;
    return compute(graph);
}

static const char * device_name(ggml_backend_dev_t device) {
    (void) device;
    return NAME;
}

/* Nothing to report: the memory is the host's. */
static void device_memory(ggml_backend_dev_t device, size_t * free_bytes, size_t * total_bytes) {
    (void) device;
    *free_bytes = 0;
    *total_bytes = 0;
}

static enum ggml_backend_dev_type device_type(ggml_backend_dev_t device) {
    (void) device;
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

static void device_props(ggml_backend_dev_t device, struct ggml_backend_dev_props * props) {
    (void) device;
    *props = (struct ggml_backend_dev_props) {
        .name = NAME,
        .description = NAME,
        .type = GGML_BACKEND_DEVICE_TYPE_ACCEL,
        .caps = { .mmap_support = true },
    };
}

/* NULL, where memory has run out, makes llama.cpp refuse the context. */
static ggml_backend_t device_init_backend(ggml_backend_dev_t device, const char * params) {
    (void) params;
    ggml_backend_t backend = malloc(sizeof(*backend));
    if (backend != NULL) {
        *backend = (struct ggml_backend) {
            .guid = &GUID,
            .iface = {
                .get_name = backend_name,
                .free = backend_free,
                .graph_compute = backend_compute,
            },
            .device = device,
        };
    }
    return backend;
}

static ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t device) {
    (void) device;
    return ggml_backend_cpu_buffer_type();
}

static bool device_supports_op(ggml_backend_dev_t device, const struct ggml_tensor * op) {
    (void) device;
    return supports_op(op);
}

static bool device_supports_buft(ggml_backend_dev_t device, ggml_backend_buffer_type_t buft) {
    (void) device;
    return ggml_backend_buft_is_host(buft);
}

static const char * reg_name(ggml_backend_reg_t reg) {
    (void) reg;
    return NAME;
}

static size_t reg_device_count(ggml_backend_reg_t reg) {
    (void) reg;
    return 1;
}

static ggml_backend_dev_t reg_device(ggml_backend_reg_t reg, size_t index);

static void * reg_proc_address(ggml_backend_reg_t reg, const char * name) {
    (void) reg;
    (void) name;
    return NULL;
}

static struct ggml_backend_reg REG = {
    .api_version = GGML_BACKEND_API_VERSION,
    .iface = {
        .get_name = reg_name,
        .get_device_count = reg_device_count,
        .get_device = reg_device,
        .get_proc_address = reg_proc_address,
    },
};

static struct ggml_backend_device DEVICE = {
    .iface = {
        .get_name = device_name,
        .get_description = device_name,
        .get_memory = device_memory,
        .get_type = device_type,
        .get_props = device_props,
        .init_backend = device_init_backend,
        .get_buffer_type = device_buffer_type,
        .supports_op = device_supports_op,
        .supports_buft = device_supports_buft,
    },
    .reg = &REG,
};

static ggml_backend_dev_t reg_device(ggml_backend_reg_t reg, size_t index) {
    (void) reg;
    (void) index;
    return &DEVICE;
}

/* Makes the device known to ggml. To be called once. */
void secondnature_register_device(supports_op_fn op, compute_fn graph);

void secondnature_register_device(supports_op_fn op, compute_fn graph) {
    supports_op = op;
    compute = graph;
    ggml_backend_register(&REG);
}
