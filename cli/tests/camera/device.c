/* A camera of Video4Linux2 for a program that is started with this library preloaded: /dev/cygnet-camera, of one size,
 * 512 x 512, and one format, CAMERA_FORMAT (YUYV or MJPG); each frame is the file CAMERA_FRAME. Its memory is that of a
 * file without a name, so that mmap needs no help; its rows of YUYV are longer than their pixels. A call that the
 * documentation of the interface forbids fails, as a driver's would.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIDE = 512, STRIDE = SIDE * 2 + 64, LENGTH = STRIDE * SIDE, BUFFERS = 2 };

static int camera = -1, streams, queue[BUFFERS], queued, taken;
static unsigned count;

static unsigned format(void) {
    const char *name = getenv("CAMERA_FORMAT");
    return name && !strcmp(name, "MJPG") ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
}

static int fails(int error) {
    errno = error;
    return -1;
}

/* Puts the frame into a buffer, and gives its length. */
static unsigned fill(int index) {
    static unsigned char buffer[LENGTH], rows[LENGTH];
    FILE *file = fopen(getenv("CAMERA_FRAME"), "rb");
    if (!file) abort();
    size_t length = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    if (format() == V4L2_PIX_FMT_YUYV) {
        memset(rows, 0xa5, sizeof rows);
        for (int y = 0; y < SIDE; y++) memcpy(rows + y * STRIDE, buffer + y * SIDE * 2, SIDE * 2);
        memcpy(buffer, rows, sizeof rows);
        length = sizeof rows;
    }
    if (pwrite(camera, buffer, length, (off_t)index * LENGTH) != (ssize_t)length) abort();
    return (unsigned)length;
}

static int dequeue(struct v4l2_buffer *buffer) {
    if (!streams || !queued) return fails(EINVAL);
    usleep(5000);
    /* A signal comes first, then a frame that was damaged on its way. */
    if (taken++ == 0) return fails(EINTR);
    buffer->index = (unsigned)queue[0];
    buffer->bytesused = fill(queue[0]);
    buffer->flags = taken == 2 ? V4L2_BUF_FLAG_ERROR : 0;
    memmove(queue, queue + 1, sizeof queue - sizeof *queue);
    queued--;
    return 0;
}

static int answer(unsigned long request, void *argument) {
    struct v4l2_capability *capability = argument;
    struct v4l2_fmtdesc *description = argument;
    struct v4l2_format *wanted = argument;
    struct v4l2_requestbuffers *buffers = argument;
    struct v4l2_buffer *buffer = argument;
    switch (request) {
    case VIDIOC_QUERYCAP:
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->driver, "test");
        capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    case VIDIOC_ENUM_FMT:
        if (description->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || description->index > 0) return fails(EINVAL);
        description->pixelformat = format();
        return 0;
    case VIDIOC_S_FMT:
        if (wanted->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fails(EINVAL);
        wanted->fmt.pix.width = wanted->fmt.pix.height = SIDE;
        wanted->fmt.pix.pixelformat = format();
        wanted->fmt.pix.bytesperline = format() == V4L2_PIX_FMT_YUYV ? STRIDE : 0;
        wanted->fmt.pix.sizeimage = LENGTH;
        return 0;
    case VIDIOC_REQBUFS:
        if (buffers->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || buffers->memory != V4L2_MEMORY_MMAP) return fails(EINVAL);
        count = buffers->count = BUFFERS;
        return 0;
    case VIDIOC_QUERYBUF:
        if (buffer->index >= count) return fails(EINVAL);
        buffer->length = LENGTH;
        buffer->m.offset = buffer->index * LENGTH;
        return 0;
    case VIDIOC_QBUF:
        if (buffer->index >= count || buffer->memory != V4L2_MEMORY_MMAP) return fails(EINVAL);
        for (int i = 0; i < queued; i++)
            if (queue[i] == (int)buffer->index) return fails(EINVAL);
        queue[queued++] = (int)buffer->index;
        return 0;
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        if (*(int *)argument != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fails(EINVAL);
        streams = request == VIDIOC_STREAMON;
        if (!streams) queued = 0;
        return 0;
    case VIDIOC_DQBUF: return dequeue(buffer);
    default: return fails(ENOTTY);
    }
}

int ioctl(int file, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (file == camera && file >= 0) return answer(request & 0xffffffff, argument);
    int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return next(file, request, argument);
}

int open64(const char *path, int flags, ...) {
    if (!strcmp(path, "/dev/cygnet-camera")) {
        camera = memfd_create("camera", 0);
        return camera >= 0 && !ftruncate(camera, (off_t)BUFFERS * LENGTH) ? camera : fails(EIO);
    }
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    return next(path, flags, mode);
}
