# What the features of `suite.rb` share: connections, subscriptions that can be waited on, and the report.

require 'stomp'

VERSION = ENV.fetch('STOMP_VERSION', '1.2')
HOST, PORT = ENV.fetch('STOMP_TCP', '127.0.0.1:61613').split(':')

# How long anything may take before it is called missing. A working broker on a busy machine never takes this long.
PATIENCE = 20

$stdout.sync = true
# The library warns of connections that end, which some features ask for.
$stderr.reopen(File::NULL)
Thread.report_on_exception = false

module Kit
  @count = 0
  @run = "#{Process.pid}-#{Time.now.to_i}"

  class << self
    # Another one each time.
    def number
      @count += 1
    end

    # A destination that nobody else uses.
    def fresh(prefix)
      "#{prefix}/#{@run}-#{number}"
    end

    def assert(holds, seen)
      raise "unexpected: #{seen.inspect}" unless holds
    end

    def equal(seen, expected)
      assert(seen == expected, seen)
    end

    # Asks whoever runs this to stop the broker and start it again where it was.
    def restart_broker
      puts '@restart'
      assert($stdin.gets, 'nobody restarts the broker')
    end

    # Tries one feature after the other, says how each went, and ends the process.
    def report(features)
      failures = features.count { |name, feature| !try(name, feature) }
      exit!(failures.zero? ? 0 : 1)
    end

    private

    def try(name, feature)
      return puts("- #{name}") || true unless feature

      feature.call
      puts "ok #{name}"
      true
    rescue StandardError => e
      puts "failed #{name}: #{e.class} #{e.message.tr("\n", ' ')} (#{e.backtrace.grep(/suite\.rb/).first})"
      false
    ensure
      Client.drop_all
    end
  end
end

# What comes, to be waited for one after the other.
class Mailbox
  def initialize(what)
    @what = what
    @arrived = Queue.new
  end

  def <<(item)
    @arrived << item
  end

  def empty?
    @arrived.empty?
  end

  def next
    Timeout.timeout(PATIENCE, nil, "#{@what}: nothing after #{PATIENCE} s") { @arrived.pop }
  end
end

# A connection of the library, and a thread that sorts what it receives.
class Client
  @open = []

  class << self
    attr_reader :open

    def drop_all
      open.each(&:drop)
      open.clear
    end
  end

  attr_reader :connection, :errors, :ends

  def initialize(headers: {}, reliable: false, heart_beat: '0,0')
    headers = { 'accept-version' => VERSION, 'host' => HOST, 'heart-beat' => heart_beat, **headers } if VERSION != '1.0'
    @errors = Mailbox.new('ERROR')
    @ends = Mailbox.new('the end')
    @receipts = {}
    @messages = {}
    @connection = Stomp::Connection.new(
      hosts: [{ login: ENV['STOMP_LOGIN'], passcode: ENV['STOMP_PASSCODE'], host: HOST, port: PORT.to_i }],
      reliable: reliable, connect_headers: headers, initial_reconnect_delay: 0.1, use_exponential_back_off: false
    )
    @reader = Thread.new { read }
    Client.open << self
  end

  # Does something that asks for a receipt, and waits for it.
  def receipt
    id = "receipt-#{Kit.number}"
    @receipts[id] = Mailbox.new("RECEIPT #{id}")
    yield({ 'receipt' => id })
    @receipts[id].next
  end

  # Sends, and waits until the broker has routed the message.
  def send(destination, body, headers = {})
    receipt { |asked| @connection.publish(destination, body, { **headers, **asked }) }
  end

  # A live subscription; answers with where its messages come.
  def subscribe(destination, headers = {})
    id = "subscription-#{Kit.number}"
    @messages[id] = Mailbox.new("MESSAGE on #{destination}")
    receipt { |asked| @connection.subscribe(destination, { 'id' => id, **headers, **asked }, id) }
    [@messages[id], id]
  end

  def unsubscribe(destination, id)
    receipt { |asked| @connection.unsubscribe(destination, { 'id' => id, **asked }, id) }
  end

  # `how` is :ack or :nack, which want to know other things of a message in each version.
  def settle(how, message, headers = {})
    name = message.headers[VERSION == '1.2' ? 'ack' : 'message-id']
    subscription = VERSION == '1.1' ? { 'subscription' => message.headers['subscription'] } : {}
    receipt { |asked| @connection.public_send(how, name, { **headers, **subscription, **asked }) }
  end

  # Ends it properly.
  def disconnect
    @reader.kill
    @connection.disconnect({ 'receipt' => 'bye' })
    Client.open.delete(self)
    @connection.disconnect_receipt
  end

  # Lets the socket go, without a word.
  def drop
    @reader.kill
    @connection.send(:close_socket)
  end

  private

  def read
    loop do
      frame = @connection.receive
      break @ends << nil if frame.nil?

      case frame.command
      when 'MESSAGE' then @messages[frame.headers['subscription']] << frame
      when 'RECEIPT' then @receipts[frame.headers['receipt-id']] << frame
      when 'ERROR' then @errors << frame
      end
    end
  rescue StandardError
    @ends << nil
  end
end
