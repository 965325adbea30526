/* Cygnet: runs .cygnet models. One header for C and C++; link libcygnet_capi.a or libcygnet_capi.so.
 *
 * Functions that can fail return NULL, or a negative number; cygnet_last_error() then tells, in English, what failed
 * and what to do. Objects of this library may be used from any thread, by one thread at a time each; models may be used
 * by several at once. Running a session allocates nothing.
 */
#ifndef CYGNET_H
#define CYGNET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A checked model file. */
typedef struct cygnet_model cygnet_model;

/* One of its programs with memory and threads. It keeps the model alive. */
typedef struct cygnet_session cygnet_session;

/* Element types; the numbers stay. */
enum {
    CYGNET_F32 = 1,
    CYGNET_F16 = 2,
    CYGNET_S8 = 3,
    CYGNET_U8 = 4,
    CYGNET_S16 = 5,
    CYGNET_S32 = 6,
    CYGNET_S64 = 7
};

/* Greatest number of dimensions. */
#define CYGNET_MAX_RANK 6

/* An input or output: what is in it, not its values. */
typedef struct {
    const char *name;               /* ends in a zero; lives as long as the session */
    int32_t dtype;                  /* CYGNET_F32 ... */
    uint32_t rank;                  /* 0 is a scalar */
    uint32_t dims[CYGNET_MAX_RANK]; /* outermost first */
    size_t bytes;                   /* of all elements, dense */
    float scale;                    /* real value = scale * (element - zero_point); 0 where it is not quantized */
    int32_t zero_point;
} cygnet_tensor;

/* "0.1.0". */
const char *cygnet_version(void);

/* Why the last call of this thread that failed did; "" before the first. Valid until the next call that fails. */
const char *cygnet_last_error(void);

/* Maps and checks a file. It must not be written into while the model, or a session of it, lives. */
cygnet_model *cygnet_model_open(const char *path);

/* A model from memory, copied once. */
cygnet_model *cygnet_model_from_bytes(const void *bytes, size_t length);

/* A model that is part of the program (cygnet bundle --object): used where it lies. The bytes must stay, unchanged, for
 * as long as the process. */
cygnet_model *cygnet_model_from_static(const void *bytes, size_t length);

/* Forgets the model. Sessions of it live on. NULL is allowed. */
void cygnet_model_close(cygnet_model *model);

/* Number of programs; at least 1. */
size_t cygnet_model_programs(const cygnet_model *model);

/* A session of program number `program`, on `threads` threads with the caller's; 0: one for each fast core. */
cygnet_session *cygnet_session_new(const cygnet_model *model, size_t program, size_t threads);

/* Ends its threads and frees its memory. NULL is allowed. */
void cygnet_session_free(cygnet_session *session);

/* Bytes that the session took: arena and scratch. */
size_t cygnet_session_memory(const cygnet_session *session);

size_t cygnet_session_inputs(const cygnet_session *session);
size_t cygnet_session_outputs(const cygnet_session *session);

/* Describes an input or output. 0, or -1 when there is no such one. */
int cygnet_session_input(const cygnet_session *session, size_t index, cygnet_tensor *tensor);
int cygnet_session_output(const cygnet_session *session, size_t index, cygnet_tensor *tensor);

/* Memory to put all elements of an input into, dense, before every run; NULL when there is no such input. Valid until
 * the session is freed, but must not be touched while it runs. The input counts as set by this call. */
void *cygnet_session_input_data(cygnet_session *session, size_t index);

/* Copies an input's elements, in its own type. 0, or -1 when `bytes` is not their size. */
int cygnet_session_set_input(cygnet_session *session, size_t index, const void *data, size_t bytes);

/* Runs. 0, or -1 when an input is not set. */
int cygnet_session_run(cygnet_session *session);

/* The elements of an output of the last run, dense; NULL when there was none since an input was set. Valid until the
 * next call that sets an input or runs. */
const void *cygnet_session_output_data(const cygnet_session *session, size_t index);

/* Gives the states their initial values. */
void cygnet_session_reset(cygnet_session *session);

#ifdef __cplusplus
}
#endif

#endif
