/* Checks that stay on in every build and say what failed. Include secondnature.h first. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                       \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* `call`, which takes `&err` last, works. */
#define WORKS(call)                                                                               \
    do {                                                                                          \
        sn_error *err = NULL;                                                                     \
        if ((call) != SN_STATUS_OK) {                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                         \
                    sn_error_message(err, NULL));                                                 \
            exit(1);                                                                              \
        }                                                                                         \
        CHECK(err == NULL);                                                                       \
    } while (0)

/* `call`, which takes `&err` last, fails with `status` and a message that says `words`. */
#define FAILS(call, status, words)                                                                \
    do {                                                                                          \
        sn_error *err = NULL;                                                                     \
        const int32_t found = (call);                                                             \
        const char *message = sn_error_message(err, NULL);                                        \
        if (found != (status) || message == NULL || strstr(message, (words)) == NULL) {           \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call,                     \
                    sn_status_name(found), message == NULL ? "(no message)" : message);           \
            exit(1);                                                                              \
        }                                                                                         \
        CHECK(sn_error_code(err) == found && strchr(message, '\n') == NULL);                      \
        sn_error_free(err);                                                                       \
    } while (0)

#define REFUSES(call, words) FAILS(call, SN_STATUS_INVALID_ARGUMENT, words)

#endif
