/* The usual turn of a connection: one request of the learnt layout in, its decision, its reply out, counted.
 *
 * The reference is Python and says what each name means: Layout in protocol/layout.py, Turn in worker/turn.py. Both do the
 * same (tests/property/test_turn_twins.py). What is not usual is left to Python: another layout, half a request or two, a
 * text to put in, a full socket, an error; and so is `decide`. The GIL is held, since nothing here waits.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/socket.h>
#include <time.h>

#define MAX_NAMES 64
#define MAX_READ_BYTES 65536
/* The cells of Counters. */
enum { REQUESTS, BUSY_NS, LINEAR_US, LINEAR_BUCKETS = 1024, CELLS = LINEAR_US + LINEAR_BUCKETS };

static const char REQUEST_LINE[] = "request=", REQUEST_NAME[] = "smtpd_access_policy";

/* The names that we look up, interned once: s_add and so on. */
#define WORDS(X) X(add) X(cells) X(close) X(counters) X(decide) X(finish) X(hits) X(layouts_epoch) X(noted) X(plain) \
    X(read_exactly) X(send_later)
#define DECLARE(word) static PyObject *s_##word;
#define INTERN(word) if (!s_##word && !(s_##word = PyUnicode_InternFromString(#word))) return -1;
WORDS(DECLARE)

/* Layout: where each wanted value stands. */
typedef struct {
    const char *start; /* "name=" */
    Py_ssize_t length, at; /* at: its place among the wanted values; -1: not wanted */
    int is_request;
} Line;

typedef struct {
    PyObject_HEAD
    PyObject *starts; /* a tuple of bytes; owns what the lines point to */
    PyObject *absent; /* a tuple: what stands for each wanted name where it is not sent */
    Py_ssize_t count;
    Line lines[MAX_NAMES];
} Layout;

static PyTypeObject LayoutType;

/* The wanted values as a new tuple, None for bytes of another layout, or NULL and an exception. */
static PyObject *layout_match(const Layout *self, const char *data, Py_ssize_t size)
{
    const char *const end = data + size;
    struct { const char *start; Py_ssize_t size; } found[MAX_NAMES];
    for (Py_ssize_t i = 0; i < self->count; i++) {
        const Line *line = &self->lines[i];
        if (end - data <= line->length || memcmp(data, line->start, line->length))
            Py_RETURN_NONE;
        const char *value = data + line->length;
        const char *newline = memchr(value, '\n', end - value);
        /* A CR at the end of the first line means that each line has one to be taken off: the exact way's job. */
        if (!newline || (i == 0 && newline[-1] == '\r'))
            Py_RETURN_NONE;
        Py_ssize_t length = newline - value;
        if (line->is_request && (length != sizeof REQUEST_NAME - 1 || memcmp(value, REQUEST_NAME, length)))
            Py_RETURN_NONE;
        found[i].start = value;
        found[i].size = length;
        data = newline + 1;
    }
    if (end - data != 1 || *data != '\n')
        Py_RETURN_NONE;
    PyObject *values = PyTuple_New(PyTuple_GET_SIZE(self->absent));
    if (!values)
        return NULL;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(self->absent); at++)
        PyTuple_SET_ITEM(values, at, Py_NewRef(PyTuple_GET_ITEM(self->absent, at)));
    for (Py_ssize_t i = 0; i < self->count; i++) {
        const Py_ssize_t at = self->lines[i].at;
        if (at < 0)
            continue;
        PyObject *value = PyUnicode_DecodeUTF8(found[i].start, found[i].size, "surrogateescape");
        if (!value) {
            Py_DECREF(values);
            return NULL;
        }
        Py_DECREF(PyTuple_GET_ITEM(values, at));
        PyTuple_SET_ITEM(values, at, value);
    }
    return values;
}

static PyObject *layout_values(Layout *self, PyObject *data)
{
    char *start;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &start, &size) < 0)
        return NULL;
    return layout_match(self, start, size);
}

/* Layout(starts, places, absent): b"name=" and the place among the wanted values of each line, and `absent`. */
static PyObject *layout_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *starts, *places, *absent;
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyTuple_Type, &starts, &PyTuple_Type, &places, &PyTuple_Type, &absent))
        return NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(starts), wanted = PyTuple_GET_SIZE(absent);
    if (count > MAX_NAMES || PyTuple_GET_SIZE(places) != count)
        return PyErr_Format(PyExc_ValueError, "%zd names, %zd places", count, PyTuple_GET_SIZE(places));
    Layout *self = (Layout *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->starts = Py_NewRef(starts);
    self->absent = Py_NewRef(absent);
    self->count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        Line *line = &self->lines[i];
        char *start;
        line->at = PyLong_AsSsize_t(PyTuple_GET_ITEM(places, i));
        if (!PyErr_Occurred() && line->at >= wanted)
            PyErr_SetString(PyExc_ValueError, "a place that is not wanted");
        if (PyErr_Occurred() || PyBytes_AsStringAndSize(PyTuple_GET_ITEM(starts, i), &start, &line->length) < 0) {
            Py_DECREF(self);
            return NULL;
        }
        line->start = start;
        line->is_request = line->length == sizeof REQUEST_LINE - 1 && !memcmp(start, REQUEST_LINE, line->length);
    }
    return (PyObject *)self;
}

static void layout_dealloc(Layout *self)
{
    Py_XDECREF(self->starts);
    Py_XDECREF(self->absent);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef layout_methods[] = {{"values", (PyCFunction)layout_values, METH_O, NULL}, {NULL, NULL, 0, NULL}};

/* Holds bytes, texts and None, and so is in no cycle: the collector need not know it. */
static PyTypeObject LayoutType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "forkpolicy.worker._turn.Layout",
    .tp_basicsize = sizeof(Layout),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = layout_new,
    .tp_dealloc = (destructor)layout_dealloc,
    .tp_methods = layout_methods,
};

/* Turn: the socket's side of a connection. */
typedef struct {
    PyObject_HEAD
    int fd; /* -1 after the end */
    Py_ssize_t read_bytes;
    PyObject *engine, *counters, *owner; /* owner: the connection, None after the end */
    Py_buffer cells; /* of the counters: long long[CELLS] */
    Layout *layout; /* NULL: read the exact way */
    long long epoch, last_used_ns, requests;
} Turn;

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* what time.perf_counter_ns reads */
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Whether `*number` is now that attribute; otherwise there is an exception. */
static int get_number(PyObject *object, PyObject *name, long long *number)
{
    PyObject *value = PyObject_GetAttr(object, name);
    *number = value ? PyLong_AsLongLong(value) : -1;
    Py_XDECREF(value);
    return *number != -1 || !PyErr_Occurred();
}

/* Call `name` of the connection, with `argument` if there is one. Its code may make us forget it: keep it meanwhile. */
static PyObject *call_owner(Turn *self, PyObject *name, PyObject *argument)
{
    PyObject *owner = Py_NewRef(self->owner), *done = PyObject_CallMethodObjArgs(owner, name, argument, NULL);
    Py_DECREF(owner);
    return done;
}

/* Call the connection's `name(raw, started_ns)`, or `name(raw, started_ns, outcome, values)`. */
static PyObject *turn_pass_on(
    Turn *self, PyObject *name, const char *data, Py_ssize_t size, long long started_ns, PyObject *outcome, PyObject *values)
{
    PyObject *owner = Py_NewRef(self->owner), *done = NULL;
    PyObject *raw = PyBytes_FromStringAndSize(data, size), *started = raw ? PyLong_FromLongLong(started_ns) : NULL;
    if (started)
        done = PyObject_CallMethodObjArgs(owner, name, raw, started, outcome, values, NULL);
    Py_DECREF(owner);
    Py_XDECREF(raw);
    Py_XDECREF(started);
    return done;
}

static int turn_counted(Turn *self, PyObject *outcome, long long started_ns)
{
    const long long elapsed_ns = now_ns() - started_ns, bucket = elapsed_ns >> 10;
    long long number;
    PyObject *hits = get_number(outcome, s_hits, &number) ? PyLong_FromLongLong(number + 1) : NULL;
    int done = hits ? PyObject_SetAttr(outcome, s_hits, hits) : -1;
    Py_XDECREF(hits);
    if (done == 0 && 0 <= bucket && bucket < LINEAR_BUCKETS) {
        long long *cells = self->cells.buf;
        cells[REQUESTS]++;
        cells[BUSY_NS] += elapsed_ns;
        cells[LINEAR_US + bucket]++;
    } else if (done == 0) {
        PyObject *elapsed = PyLong_FromLongLong(elapsed_ns);
        PyObject *added = elapsed ? PyObject_CallMethodOneArg(self->counters, s_add, elapsed) : NULL;
        done = added ? 0 : -1;
        Py_XDECREF(elapsed);
        Py_XDECREF(added);
    }
    self->last_used_ns = started_ns;
    self->requests++;
    return done;
}

static PyObject *turn_count(Turn *self, PyObject *args)
{
    PyObject *outcome;
    long long started_ns;
    if (!PyArg_ParseTuple(args, "OL", &outcome, &started_ns) || turn_counted(self, outcome, started_ns) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *turn_send(Turn *self, PyObject *reply)
{
    char *start;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(reply, &start, &size) < 0)
        return NULL;
    ssize_t sent;
    do
        sent = send(self->fd, start, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (sent == size)
        Py_RETURN_NONE;
    if (PyErr_Occurred())
        return NULL;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return call_owner(self, s_close, NULL);
    PyObject *rest = sent < 0 ? Py_NewRef(reply) : PyBytes_FromStringAndSize(start + sent, size - sent);
    PyObject *done = rest ? call_owner(self, s_send_later, rest) : NULL;
    Py_XDECREF(rest);
    return done;
}

/* Reply to a request whose values are known. */
static PyObject *turn_reply(Turn *self, PyObject *values, const char *data, Py_ssize_t size, long long started_ns)
{
    PyObject *done = NULL, *outcome = NULL, *plain = NULL, *noted = NULL;
    PyObject *decide = PyObject_GetAttr(self->engine, s_decide);
    if (decide && (outcome = PyObject_CallOneArg(decide, values)) && (plain = PyObject_GetAttr(outcome, s_plain))
        && (noted = PyObject_GetAttr(self->engine, s_noted))) {
        const int has_reply = PyObject_IsTrue(plain), has_notes = PyObject_IsTrue(noted);
        if (has_reply > 0 && has_notes == 0) {
            done = turn_send(self, plain);
            if (done && turn_counted(self, outcome, started_ns) < 0)
                Py_CLEAR(done);
        } else if (has_reply >= 0 && has_notes >= 0)
            done = turn_pass_on(self, s_finish, data, size, started_ns, outcome, values);
    }
    Py_XDECREF(decide);
    Py_XDECREF(outcome);
    Py_XDECREF(plain);
    Py_XDECREF(noted);
    return done;
}

static PyObject *turn_readable(Turn *self, PyObject *Py_UNUSED(none))
{
    /* On the stack, so that it stays this turn's own whatever Python code runs before its end. */
    char data[MAX_READ_BYTES];
    const long long started_ns = now_ns();
    ssize_t size;
    do
        size = recv(self->fd, data, self->read_bytes, 0);
    while (size < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (size < 0 && PyErr_Occurred())
        return NULL;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        Py_RETURN_NONE;
    if (size <= 0)
        return call_owner(self, s_close, NULL);
    long long epoch;
    if (self->layout && !get_number(self->engine, s_layouts_epoch, &epoch))
        return NULL;
    if (self->layout && epoch == self->epoch && size < self->read_bytes) {
        PyObject *values = layout_match(self->layout, data, size);
        const int is_usual = values != Py_None;
        PyObject *done = values && is_usual ? turn_reply(self, values, data, size, started_ns) : NULL;
        Py_XDECREF(values);
        if (is_usual)
            return done;
    }
    return turn_pass_on(self, s_read_exactly, data, size, started_ns, NULL, NULL);
}

static PyObject *turn_learn(Turn *self, PyObject *layout)
{
    if (layout != Py_None && !Py_IS_TYPE(layout, &LayoutType))
        return PyErr_Format(PyExc_TypeError, "a layout of %s", Py_TYPE(layout)->tp_name);
    if (!get_number(self->engine, s_layouts_epoch, &self->epoch))
        return NULL;
    Py_XSETREF(self->layout, layout == Py_None ? NULL : (Layout *)Py_NewRef(layout));
    Py_RETURN_NONE;
}

static PyObject *turn_end(Turn *self, PyObject *Py_UNUSED(none))
{
    self->fd = -1;
    Py_SETREF(self->owner, Py_NewRef(Py_None));
    Py_RETURN_NONE;
}

/* Turn(sock, read_bytes, engine, owner) */
static PyObject *turn_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *sock, *engine, *owner;
    Py_ssize_t read_bytes;
    if (!PyArg_ParseTuple(args, "OnOO", &sock, &read_bytes, &engine, &owner))
        return NULL;
    if (read_bytes < 1 || read_bytes > MAX_READ_BYTES)
        return PyErr_Format(PyExc_ValueError, "%zd bytes to read", read_bytes);
    const int fd = PyObject_AsFileDescriptor(sock);
    Turn *self = fd < 0 ? NULL : (Turn *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->fd = fd;
    self->read_bytes = read_bytes;
    self->engine = Py_NewRef(engine);
    self->owner = Py_NewRef(owner);
    self->last_used_ns = now_ns();
    self->counters = PyObject_GetAttr(engine, s_counters);
    PyObject *cells = self->counters ? PyObject_GetAttr(self->counters, s_cells) : NULL;
    if (cells && PyObject_GetBuffer(cells, &self->cells, PyBUF_WRITABLE) == 0
        && self->cells.len != CELLS * (Py_ssize_t)sizeof(long long))
        PyErr_Format(PyExc_ValueError, "%zd bytes of counters", self->cells.len);
    Py_XDECREF(cells);
    if (PyErr_Occurred())
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int turn_traverse(Turn *self, visitproc visit, void *arg)
{
    Py_VISIT(self->engine);
    Py_VISIT(self->owner);
    return 0;
}

static void turn_dealloc(Turn *self)
{
    PyObject_GC_UnTrack(self);
    PyBuffer_Release(&self->cells);
    Py_XDECREF(self->engine);
    Py_XDECREF(self->owner);
    Py_XDECREF(self->counters);
    Py_XDECREF(self->layout);
    Py_TYPE(self)->tp_free(self);
}

static PyMemberDef turn_members[] = {
    {"last_used_ns", T_LONGLONG, offsetof(Turn, last_used_ns), 0, NULL},
    {"requests", T_LONGLONG, offsetof(Turn, requests), 0, NULL}, {NULL, 0, 0, 0, NULL},
};
static PyMethodDef turn_methods[] = {
    {"readable", (PyCFunction)turn_readable, METH_NOARGS, NULL}, {"send", (PyCFunction)turn_send, METH_O, NULL},
    {"count", (PyCFunction)turn_count, METH_VARARGS, NULL},      {"learn", (PyCFunction)turn_learn, METH_O, NULL},
    {"end", (PyCFunction)turn_end, METH_NOARGS, NULL},           {NULL, NULL, 0, NULL},
};
static PyTypeObject TurnType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "forkpolicy.worker._turn.Turn",
    .tp_basicsize = sizeof(Turn),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = turn_new,
    .tp_traverse = (traverseproc)turn_traverse,
    .tp_dealloc = (destructor)turn_dealloc,
    .tp_members = turn_members,
    .tp_methods = turn_methods,
};

static int module_exec(PyObject *module)
{
    WORDS(INTERN)
    return PyModule_AddType(module, &LayoutType) < 0 ? -1 : PyModule_AddType(module, &TurnType);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_turn", .m_slots = slots};

PyMODINIT_FUNC PyInit__turn(void)
{
    return PyModuleDef_Init(&definition);
}
