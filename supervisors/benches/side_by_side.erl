%% The measurements of side_by_side.rs on Erlang/OTP's own supervisor and gen_server.
-module(side_by_side).
-behaviour(supervisor).
-export([main/0, init/1, start_worker/1, start_child/0]).
-export([handle_call/3, handle_cast/2, worker_init/1]).

-define(BATCH, 100).
-define(BATCHES, 100).
-define(CHILDREN, 10000).
-define(CALLS, 100000).
-define(CASTS, 1000000).

main() ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    dynamic_children(),
    restart_latency(),
    calls_and_casts(),
    halt(0).

init({static, Ids, Report}) ->
    {ok, {#{intensity => 1000000, period => 1},
          [#{id => Id, start => {?MODULE, start_worker, [{Id, Report}]}} || Id <- Ids]}};
init(dynamic) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => worker, start => {?MODULE, start_child, []}, restart => temporary}]}};
init({worker, Id, Report}) -> worker_init({Id, Report}).

%% Registered by name: what a reference that outlives restarts is in Erlang.
start_worker({Id, Report}) -> gen_server:start_link({local, Id}, ?MODULE, {worker, Id, Report}, []).
start_child() -> gen_server:start_link(?MODULE, {worker, none, none}, []).

worker_init({_, none}) -> {ok, 0};
worker_init({_, Report}) ->
    Report ! {born, erlang:monotonic_time()},
    {ok, Report}.

handle_call(count, _, N) -> {reply, N, N};
handle_call({ask_around, Other, Times}, _, N) ->
    T0 = erlang:monotonic_time(),
    ask(Other, Times),
    {reply, erlang:monotonic_time() - T0, N};
handle_call({pelt, Other, Times}, _, N) ->
    T0 = erlang:monotonic_time(),
    pelt(Other, Times),
    gen_server:call(Other, count, infinity),
    {reply, erlang:monotonic_time() - T0, N}.

pelt(_, 0) -> ok;
pelt(Other, N) -> gen_server:cast(Other, count), pelt(Other, N - 1).

ask(_, 0) -> ok;
ask(Other, N) -> gen_server:call(Other, count), ask(Other, N - 1).

handle_cast(count, N) -> {noreply, N + 1};
handle_cast(fail, Report) ->
    Report ! {ended, erlang:monotonic_time()},
    {stop, as_told, Report}.

restart_latency() ->
    L = lists:sort(lists:append([batch() || _ <- lists:seq(1, ?BATCHES)])),
    [io:format("~s ~.1f us~n", [Name, us(lists:nth(length(L) * Share div 100 + 1, L))])
     || {Name, Share} <- [{"restart_p50", 50}, {"restart_p99", 99}]].

batch() ->
    {ok, Sup} = supervisor:start_link(?MODULE, {static, [worker], self()}),
    receive {born, _} -> ok end,
    L = [begin
             gen_server:cast(worker, fail),
             T0 = receive {ended, A} -> A end,
             T1 = receive {born, B} -> B end,
             T1 - T0
         end || _ <- lists:seq(1, ?BATCH)],
    stop(Sup),
    L.

dynamic_children() ->
    {ok, Sup} = supervisor:start_link(?MODULE, dynamic),
    M0 = resident_bytes(),
    T0 = erlang:monotonic_time(),
    grow(Sup, ?CHILDREN),
    T1 = erlang:monotonic_time(),
    io:format("start_10000 ~.1f ms~n", [us(T1 - T0) / 1000]),
    io:format("memory_per_child ~b bytes~n", [(resident_bytes() - M0) div ?CHILDREN]),
    T2 = erlang:monotonic_time(),
    stop(Sup),
    io:format("stop_10000 ~.1f ms~n", [us(erlang:monotonic_time() - T2) / 1000]).

grow(_, 0) -> ok;
grow(Sup, N) -> {ok, _} = supervisor:start_child(Sup, []), grow(Sup, N - 1).

%% Second field of statm, in pages of 4 KiB.
resident_bytes() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    binary_to_integer(lists:nth(2, binary:split(Statm, <<" ">>, [global]))) * 4096.

calls_and_casts() ->
    {ok, Sup} = supervisor:start_link(?MODULE, {static, [one, other], none}),
    T = gen_server:call(one, {ask_around, other, ?CALLS}, infinity),
    io:format("calls ~b per_s~n", [round(?CALLS / us(T) * 1.0e6)]),
    C = gen_server:call(one, {pelt, other, ?CASTS}, infinity),
    io:format("casts ~b per_s~n", [round(?CASTS / us(C) * 1.0e6)]),
    stop(Sup).

stop(Sup) ->
    M = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', M, _, _, _} -> ok end.

us(Native) -> erlang:convert_time_unit(Native, native, nanosecond) / 1000.
