// When everything in a network of processes happens: the loop of hw/kernel/timing.py, without data.
//
// A queue holds the cycles from which its entries can be taken: tokens that can be read, places that are free again, banks
// that can be entered. An actor takes and gives entries of queues, one event after the other, each as early as the entries
// that it takes allow. Queues have one taker, so the order in which actors run does not change any time. The memory is the
// exception: it serves its ports in the order of arrival. It therefore acts only when no actor can: whatever happens later
// follows from what it does next, and is later than that.
#include <stdint.h>
#include <stdlib.h>

typedef int64_t i64;

typedef struct {
  i64 *at;
  i64 head, count, room;  // room: a power of two
  int waiter;             // the actor to wake when an entry comes, -1: none
} Queue;

typedef struct {
  i64 steps;        // iterations and empty loops of one execution
  i64 first, last;  // its events; -1 without iterations
} Plan;

typedef struct {
  // the execution at hand: its place, its next event, the time and the iteration of the last one, when it began
  i64 execution, event, now, base, position, begin;
  int running, waits;  // waits: for this queue, -1 for none or for a command
  int command_readable, command_free;
  i64 number, executions, repeats;
  i64 lead;  // cycles from the arrival of a command to its first iteration
  const i64 *plan_of;
  i64 *spans;
} Process;

#define WORD_BYTES 16
#define MAX_BURST 16  // words, and a burst ends at a multiple of it
#define MAX_OUTSTANDING 64
#define MAX_BANKS 64

typedef struct {
  int request, request_free, data, data_free, done, done_free;  // queues; done: -1 for reads
  int room;                          // queue: places for words in the mover (reads)
  int answers;                       // queue: when words or acknowledgements come
  const i64 *address, *words, *mark;
  i64 requests, taken;               // in all, and so far
  i64 on_chip_words;                 // words from address 0 on that the on-chip memory serves
  i64 request_at, word, left, marked;  // of the request at hand: when it was taken; the next word, words left
  i64 issued, accepted;              // when the last burst was issued, and when the memory took its address
  i64 moved;                         // when the last word came from the memory (reads), or went to it (writes)
  i64 responded;                     // writes: when the last response came
  i64 answered;                      // when the last answer left the mover
  i64 ended[MAX_OUTSTANDING], slot;  // when the last transactions ended, a ring as long as may be outstanding
  i64 queued[MAX_OUTSTANDING], bursts;  // the same for the write mover's own queue
  i64 burst, sent, asked;            // of the burst at hand: words, words given to the memory, whether its address was
  i64 candidate;                     // when the memory is asked for the burst at hand; -1: not known yet
  i64 wanted;                        // when the last burst would have been issued with room for its words
  i64 number, row, noted;            // the last row of this port in the log of moves, -1: none, and its last cycle
} Port;

#define COLUMNS 5

// Rows of COLUMNS numbers; rows beyond `room` are counted and not kept.
typedef struct {
  i64 *rows, room, count;
} Log;

typedef struct {
  i64 read_latency, write_latency, outstanding, line_cost, line_bytes, page_cost, page_bytes, banks, refresh, refresh_interval;
} Memory;

typedef struct {
  Queue *queues;
  int *ready, ready_count;  // actors to run
  char *queued;             // whether an actor is among them
  Log waits, moves;         // see `Input`
} Net;

static void wake(Net *net, int actor) {
  if (actor < 0 || net->queued[actor]) return;
  net->queued[actor] = 1;
  net->ready[net->ready_count++] = actor;
}

static void push(Net *net, int q, i64 at) {
  Queue *queue = &net->queues[q];
  if (queue->count == queue->room) {
    i64 room = queue->room ? 2 * queue->room : 16;
    i64 *grown = malloc(sizeof(i64) * room);
    if (!grown) abort();
    for (i64 i = 0; i < queue->count; i++) grown[i] = queue->at[(queue->head + i) & (queue->room - 1)];
    free(queue->at);
    queue->at = grown, queue->head = 0, queue->room = room;
  }
  queue->at[(queue->head + queue->count++) & (queue->room - 1)] = at;
  wake(net, queue->waiter);
  queue->waiter = -1;
}

static inline i64 peek(const Queue *queue, i64 i) { return queue->at[(queue->head + i) & (queue->room - 1)]; }
static inline i64 pop(Queue *queue) {
  i64 at = queue->at[queue->head];
  queue->head = (queue->head + 1) & (queue->room - 1);
  queue->count--;
  return at;
}
static inline i64 most(i64 a, i64 b) { return a > b ? a : b; }

static i64 *new_row(Log *log) {
  i64 at = log->count++;
  return at < log->room ? log->rows + COLUMNS * at : 0;
}

static void note_wait(Net *net, i64 process, i64 execution, i64 queue, i64 from, i64 to) {
  i64 *row = new_row(&net->waits);
  if (row) row[0] = process, row[1] = execution, row[2] = queue, row[3] = from, row[4] = to;
}

// Words of one burst without a pause between them are one row. On-chip words move when they are asked for, but those that are
// read not before the ones in front of them.
static void note_move(Net *net, Port *port, i64 asked, i64 first, i64 last) {
  Log *log = &net->moves;
  if (port->done < 0 && first <= port->noted) last += port->noted + 1 - first, first = port->noted + 1;
  port->noted = last;
  if (port->row >= 0 && port->row < log->room) {
    i64 *row = log->rows + COLUMNS * port->row;
    if (row[4] + 1 == first && (row[2] == asked || (row[2] == row[3] && asked == first))) {
      row[4] = last;
      return;
    }
  }
  port->row = log->count;
  i64 *row = new_row(log);
  if (row) row[0] = port->number, row[1] = port->wanted, row[2] = asked, row[3] = first, row[4] = last;
}

// The DRAM: see axi_ram.sv.
typedef struct {
  i64 busy_until;
  i64 open[MAX_BANKS];
} Dram;

// When a transaction of `words` from `word` on that arrives at `now` has been served.
static i64 serve(Dram *dram, const Memory *memory, i64 now, i64 word, i64 words) {
  if (memory->line_cost == 0) return now;
  if (dram->busy_until < now << 8) dram->busy_until = now << 8;
  i64 cycle = dram->busy_until >> 8;
  if (memory->refresh && cycle % memory->refresh_interval < memory->refresh)
    dram->busy_until = (cycle / memory->refresh_interval * memory->refresh_interval + memory->refresh) << 8;
  i64 first = word * WORD_BYTES / memory->line_bytes, last = (word + words - 1) * WORD_BYTES / memory->line_bytes;
  dram->busy_until += (last - first + 1) * memory->line_cost;
  i64 page = word * WORD_BYTES / memory->page_bytes, bank = page % memory->banks;
  if (dram->open[bank] != page) {
    dram->open[bank] = page;
    dram->busy_until += memory->page_cost;
  }
  return dram->busy_until >> 8;
}

typedef struct {
  const i64 *sizes;      // queues, processes, ports, outputs, rows that `outputs`, `waits` and `moves` hold
  const i64 *initial;    // by queue: entries at cycle 0
  const i64 *processes;  // rows: command readable, command free (-1: none), executions, whether it repeats one for ever, first in plan_of, lead
  const i64 *plan_of;    // by execution
  const i64 *plans, *position, *pattern, *takes_first, *takes, *gives_first, *gives, *give_delay;
  const i64 *ports;      // rows: request, request free, data, data free, done, done free (-1: reads), room, answers, first request, requests, on-chip words
  const i64 *address, *words, *mark;  // by request
  const i64 *drains;     // rows by output: readable, free
  const i64 *memory, *clocks;
  i64 *spans;            // rows as plan_of: first and last issue
  i64 *ends;             // rows by process: executions begun, queue that it waits for (-1: none)
  i64 *outputs;          // rows: output, cycle
  i64 *waits;            // rows: process, execution, queue that it waits for, from this cycle on, issues in this one
  i64 *moves;            // rows: port, when it wanted to ask, when it asked, first and last cycle with a word
  i64 *counts;           // rows of `outputs`, `waits` and `moves`
} Input;

// As far as the queues allow; then the process waits for one of them.
static void run_process(Net *net, const Input *in, Process *p, int actor) {
  Queue *queues = net->queues;
  const i64 credit = in->clocks[0];
  for (;;) {
    if (!p->running) {
      i64 ready = 0;
      p->waits = -1;
      if (p->execution == p->executions && !p->repeats) return;
      if (p->command_readable >= 0) {
        if (!queues[p->command_readable].count) {
          queues[p->command_readable].waiter = actor;
          return;
        }
        ready = pop(&queues[p->command_readable]);
      }
      i64 start = most(p->now + 1, ready) + p->lead;
      const Plan *plan = (const Plan *)in->plans + p->plan_of[p->repeats ? 0 : p->execution];
      if (plan->first < 0) {  // no iterations
        p->now = start + plan->steps - 1;
        if (!p->repeats) p->spans[2 * p->execution] = -1;
        p->execution++;
        if (p->command_free < 0) return;
        push(net, p->command_free, p->now + credit);
        continue;
      }
      p->base = p->now = start - 1;
      p->position = p->begin = -1;
      p->event = plan->first;
      p->running = 1;
    }
    const Plan *plan = (const Plan *)in->plans + p->plan_of[p->repeats ? 0 : p->execution];
    for (; p->event < plan->last; p->event++) {
      i64 pattern = in->pattern[p->event], cause = -1;
      i64 earliest = p->now + in->position[p->event] - p->position, now = earliest;
      const i64 *take = in->takes + in->takes_first[pattern], *end = in->takes + in->takes_first[pattern + 1];
      for (const i64 *q = take; q < end; q++) {
        if (!queues[*q].count) {
          queues[*q].waiter = actor;
          p->waits = (int)*q;
          return;
        }
        i64 at = peek(&queues[*q], 0);
        if (at > now) now = at, cause = *q;
      }
      for (const i64 *q = take; q < end; q++) pop(&queues[*q]);
      if (cause >= 0) note_wait(net, p->number, p->repeats ? 0 : p->execution, cause, earliest, now);
      p->now = now;
      p->position = in->position[p->event];
      for (i64 g = in->gives_first[pattern]; g < in->gives_first[pattern + 1]; g++)
        push(net, (int)in->gives[g], now + in->give_delay[g]);
      if (p->begin < 0) p->begin = now - p->position;
    }
    p->now += plan->steps - 1 - p->position;
    p->running = 0;
    if (!p->repeats) {
      p->spans[2 * p->execution] = p->begin < 0 ? p->base + 1 : p->begin;
      p->spans[2 * p->execution + 1] = p->now;
    }
    p->execution++;
    if (p->command_free >= 0) push(net, p->command_free, p->now + credit);
    if (p->repeats && plan->first == plan->last) return;  // it touches nothing
  }
}

// What the memory answers (words of reads, acknowledgements of writes) leaves the mover as the next process has room.
static void run_answers(Net *net, Port *port, int actor) {
  int reads = port->done < 0;
  Queue *answers = &net->queues[port->answers], *room = &net->queues[reads ? port->data_free : port->done_free];
  for (;;) {
    if (!answers->count || !room->count) {
      (answers->count ? room : answers)->waiter = actor;
      return;
    }
    port->answered = most(most(port->answered + 1, pop(answers)), pop(room));
    push(net, reads ? port->data : port->done, port->answered + 1);
    if (reads) push(net, port->room, port->answered);
  }
}

// Takes requests until one has words left: 0 when it has to wait for one.
static int take_request(Net *net, Port *port, int actor, i64 acknowledge) {
  Queue *requests = &net->queues[port->request];
  while (port->left == 0) {
    if (!requests->count || port->taken == port->requests) {
      requests->waiter = actor;
      return 0;
    }
    port->request_at = most(most(port->request_at + 1, pop(requests)), port->issued);
    port->word = port->address[port->taken] / WORD_BYTES;
    port->left = port->words[port->taken];
    port->marked = port->mark[port->taken++];
    push(net, port->request_free, port->request_at + 2);
    if (port->left == 0 && port->marked) {  // acknowledged with the words in front of it
      port->responded = most(port->responded, port->request_at + 1);
      push(net, port->answers, port->responded + acknowledge);
    }
  }
  i64 boundary = MAX_BURST - (port->word & (MAX_BURST - 1));
  port->burst = port->left < boundary ? port->left : boundary;
  return 1;
}

// The next burst of a read port, to when the memory gets its address; on-chip memory sends a word a cycle before that.
static void next_read(Net *net, const Input *in, Port *port, int actor) {
  if (port->candidate >= 0) return;
  Queue *room = &net->queues[port->room];
  for (;;) {
    if (!take_request(net, port, actor, 0)) return;
    if (port->word >= port->on_chip_words) break;
    for (; port->left; port->left--, port->word++) {
      if (!room->count) {
        room->waiter = actor;
        return;
      }
      port->wanted = most(port->issued, port->request_at) + 1;
      port->issued = most(port->wanted, pop(room));
      push(net, port->answers, port->issued + in->clocks[3]);
      note_move(net, port, port->issued, port->issued, port->issued);
    }
  }
  if (room->count < port->burst) {
    room->waiter = actor;
    return;
  }
  i64 free = most(port->accepted, peek(room, port->burst - 1));
  port->wanted = most(port->request_at, port->issued) + 1;
  port->issued = most(port->wanted, free);
  port->candidate = most(most(port->issued, port->accepted), port->ended[port->slot]) + 1;
}

static void serve_read(Net *net, const Input *in, Port *port, Dram *dram, const Memory *memory) {
  port->accepted = port->candidate;
  i64 due = serve(dram, memory, port->accepted, port->word, port->burst) + memory->read_latency - 1;
  i64 first = most(port->moved + 1, due);
  for (i64 i = 0; i < port->burst; i++) {
    pop(&net->queues[port->room]);
    port->moved = first + i;
    push(net, port->answers, port->moved + in->clocks[1]);
  }
  note_move(net, port, port->issued, first, port->moved);
  port->ended[port->slot] = port->moved;
  port->slot = (port->slot + 1) % memory->outstanding;
  port->word += port->burst;
  port->left -= port->burst;
  port->candidate = -1;
}

// The next burst of a write port, to when the memory gets its last word.
static void next_write(Net *net, const Input *in, Port *port, int actor) {
  if (port->candidate >= 0) return;
  Queue *data = &net->queues[port->data];
  while (!port->asked) {
    if (!take_request(net, port, actor, in->clocks[2])) return;
    if (port->word < port->on_chip_words) {
      for (; port->left; port->left--, port->word++) {
        if (!data->count) {
          data->waiter = actor;
          return;
        }
        port->wanted = most(port->moved, port->request_at) + 1;
        port->moved = most(port->wanted, pop(data));
        push(net, port->data_free, port->moved + 2);
        note_move(net, port, port->moved, port->moved, port->moved);
      }
      port->issued = port->moved + port->marked;
      if (port->marked) {
        port->responded = most(port->responded, port->moved);
        push(net, port->answers, port->responded + in->clocks[4]);
      }
      continue;
    }
    i64 queue = port->queued[port->bursts % MAX_OUTSTANDING] + 1;
    port->wanted = most(port->request_at, port->issued) + 1;
    port->issued = most(port->wanted, most(port->accepted, queue));
    port->accepted = most(most(port->issued, port->accepted) + 1, port->ended[port->slot] + 2);
    port->asked = 1;
  }
  while (port->sent < port->burst) {
    if (!data->count) {
      data->waiter = actor;
      return;
    }
    i64 taken = most(most(port->moved, port->issued), pop(data));
    port->moved = most(taken, port->accepted) + 1;
    note_move(net, port, port->issued, port->moved, port->moved);
    port->sent++;
    push(net, port->data_free, taken + 2);
  }
  port->candidate = port->moved;
}

static void serve_write(Net *net, const Input *in, Port *port, Dram *dram, const Memory *memory) {
  i64 due = serve(dram, memory, port->moved, port->word, port->burst) + memory->write_latency - 1;
  port->responded = most(port->responded + 1, due);
  port->ended[port->slot] = port->queued[port->bursts++ % MAX_OUTSTANDING] = port->responded;
  port->slot = (port->slot + 1) % memory->outstanding;
  port->word += port->burst;
  port->left -= port->burst;
  port->sent = port->asked = 0;
  port->candidate = -1;
  if (port->left == 0 && port->marked) push(net, port->answers, port->responded + in->clocks[2]);
}

// 0, -1 without memory, -2 when there are more rows than one of `outputs`, `waits` and `moves` holds.
i64 ew_timing(const Input *in) {
  const i64 queue_count = in->sizes[0], process_count = in->sizes[1], port_count = in->sizes[2], drain_count = in->sizes[3];
  const Memory *memory = (const Memory *)in->memory;
  int actors = (int)(process_count + 2 * port_count + drain_count);
  Net net = {calloc(queue_count, sizeof(Queue)), calloc(actors, sizeof(int)), 0, calloc(actors, 1),
             {in->waits, in->sizes[5], 0}, {in->moves, in->sizes[6], 0}};
  Process *processes = calloc(process_count, sizeof(Process));
  Port *ports = calloc(port_count + 1, sizeof(Port));
  Dram dram;
  if (!net.queues || !net.ready || !net.queued || !processes || !ports) return -1;
  dram.busy_until = 0;
  for (int b = 0; b < MAX_BANKS; b++) dram.open[b] = -1;
  for (i64 q = 0; q < queue_count; q++) {
    net.queues[q].waiter = -1;
    for (i64 i = 0; i < in->initial[q]; i++) push(&net, (int)q, 0);
  }
  for (i64 i = 0; i < process_count; i++) {
    const i64 *row = in->processes + 6 * i;
    processes[i] = (Process){.command_readable = (int)row[0], .command_free = (int)row[1], .executions = row[2], .repeats = row[3],
                             .plan_of = in->plan_of + row[4], .spans = in->spans + 2 * row[4], .number = i,
                             .lead = row[3] ? 0 : row[5], .now = row[3] ? most(-1, row[5] - 2) : -1, .waits = -1};
  }
  for (i64 i = 0; i < port_count; i++) {
    const i64 *row = in->ports + 11 * i;
    ports[i] = (Port){.request = (int)row[0], .request_free = (int)row[1], .data = (int)row[2], .data_free = (int)row[3],
                      .done = (int)row[4], .done_free = (int)row[5], .room = (int)row[6], .answers = (int)row[7],
                      .address = in->address + row[8], .words = in->words + row[8], .mark = in->mark + row[8], .requests = row[9], .on_chip_words = row[10],
                      .request_at = -1, .issued = -1, .accepted = -1, .moved = -1, .responded = -1, .answered = -1, .candidate = -1, .number = i, .row = -1, .noted = -1};
    for (int k = 0; k < MAX_OUTSTANDING; k++) ports[i].ended[k] = ports[i].queued[k] = -4;
  }
  for (int a = 0; a < actors; a++) net.queued[a] = 1, net.ready[net.ready_count++] = a;
  i64 drained = 0;
  for (;;) {
    while (net.ready_count) {
      int a = net.ready[--net.ready_count];
      net.queued[a] = 0;
      if (a < process_count) {
        run_process(&net, in, &processes[a], a);
      } else if (a < process_count + 2 * port_count) {
        Port *port = &ports[(a - process_count) / 2];
        if ((a - process_count) % 2) run_answers(&net, port, a);
        else if (port->done < 0) next_read(&net, in, port, a);
        else next_write(&net, in, port, a);
      } else {
        i64 output = a - process_count - 2 * port_count;
        Queue *queue = &net.queues[in->drains[2 * output]];
        while (queue->count) {
          i64 at = pop(queue);
          if (drained < in->sizes[4]) in->outputs[2 * drained] = output, in->outputs[2 * drained + 1] = at;
          drained++;
          push(&net, (int)in->drains[2 * output + 1], at + in->clocks[0]);
        }
        queue->waiter = a;
      }
    }
    int next = -1;
    for (int i = 0; i < port_count; i++)
      if (ports[i].candidate >= 0 && (next < 0 || ports[i].candidate < ports[next].candidate)) next = i;
    if (next < 0) break;
    if (ports[next].done < 0) serve_read(&net, in, &ports[next], &dram, memory);
    else serve_write(&net, in, &ports[next], &dram, memory);
    wake(&net, (int)(process_count + 2 * next));
  }
  for (i64 i = 0; i < process_count; i++) {
    in->ends[2 * i] = processes[i].execution;
    in->ends[2 * i + 1] = processes[i].running ? processes[i].waits : -1;
  }
  for (i64 q = 0; q < queue_count; q++) free(net.queues[q].at);
  free(net.queues), free(net.ready), free(net.queued), free(processes), free(ports);
  in->counts[0] = drained, in->counts[1] = net.waits.count, in->counts[2] = net.moves.count;
  return drained > in->sizes[4] || net.waits.count > net.waits.room || net.moves.count > net.moves.room ? -2 : 0;
}
